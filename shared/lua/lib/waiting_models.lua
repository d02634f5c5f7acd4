-- waiting_models: see that each model with parked requests has an order that waits, a load under way, or a holder.
-- swept: what a sweep has done. head: since when the oldest order of the cold queue waits.
local swept, head = {ended = 0, ordered = 0, placed = 0}, nil

-- An order that waits for longer than the head was taken from the queue: it is claimed soon, or never.
local function is_taken(ref)
  local since = tonumber(redis.call('ZSCORE', WAITING_ORDERS, ref) or nil)
  return since and head and since < head, since
end

local function keep_order(ref, load, token)
  local taken, since = is_taken(ref)
  if since and not taken then
    if redis.call('PTTL', load) < JOB_TTL_S * 500 then
      redis.call('EXPIRE', load, JOB_TTL_S)
      redis.call('EXPIRE', P .. 'rq:job:' .. job_id(ref, token), JOB_TTL_S)
    end
  elseif redis.call('PTTL', load) > CLAIM_TTL_MS then
    redis.call('PEXPIRE', load, CLAIM_TTL_MS)
  end
end

-- budget: so many parked requests are placed at most.
local function look_at(ref, now, grace, budget)
  local parked, load = k('parked', ref), k('load', ref)
  local lease = redis.call('HMGET', load, 'token', 'phase', 'worker', 'until')
  if redis.call('XLEN', parked) == 0 then
    cancel_order(ref)
  elseif lease[2] == 'ordered' then
    keep_order(ref, load, lease[1])
  elseif lease[2] == 'loading' and (not redis.call('ZSCORE', WORKERS, lease[3])
      or not grace and tonumber(lease[4] or now + 1) <= now) then
    redis.call('DEL', load)  -- its worker was reaped, or renews it no more: the next sweep orders again
  elseif not lease[1] and #live_holders(ref, now) > 0 then
    swept.placed = swept.placed + place_parked(ref, now, budget)
  elseif not lease[1] and not unloadable(ref) and breaker(ref, now) ~= 'open' then
    local first = redis.call('XRANGE', parked, '-', '+', 'COUNT', 1)[1]
    order_load(ref, first[1], now)
    swept.ordered = swept.ordered + 1
  end
end

local function look_at_taken(ref, now, grace, budget)
  local lease = redis.call('HMGET', k('load', ref), 'token', 'phase')
  if lease[2] == 'ordered' then
    keep_order(ref, k('load', ref), lease[1])
  elseif lease[1] or redis.call('XLEN', k('parked', ref)) == 0 then
    redis.call('ZREM', WAITING_ORDERS, ref)
  else
    look_at(ref, now, grace, budget)
  end
end
