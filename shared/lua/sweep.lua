-- sweep: end requests past their deadlines, and lost ones; order loads again for parked requests without one.
-- use: keys, constants, queued, guarded, grace, report, outcomes, deadline, publish, lost, entries, sample, health, holders, model_facts, load_target, blame, order, breaker, bounds, copies, healthy_copy, placement, parked
-- KEYS[1] prefix. ARGV: now, chunk.
-- Returns {requests ended, loads ordered again, requests placed again, {errors of single requests and models}}.
local LATER_MS = 60000  -- until a request that could not be ended is tried again
local now, chunk = clock(), tonumber(ARGV[2])
local ended, ordered, placed = 0, 0, 0
open_with_harmless_write()
local grace = grace_of(now)

local function expire(id)
  local r = redis.call('HMGET', k('request', id), 'stream', 'entry', 'flags', 'reply', 'model', 'status')
  -- A request whose record names an entry has not ended. If the entry is missing, the stream was lost: it ends here.
  if r[1] and grace and r[6] == 'running' then
    redis.call('ZADD', DEADLINES, grace, id)  -- its worker may not have been able to say so
  elseif r[1] then
    take_entry(r[1], r[2], r[5])
    local outcome, worker = expired_outcome(r[5], r[1], now)
    publish({id = id, flags = r[3], reply = r[4], model = r[5]}, 'expired', worker, outcome, now)
    ended = ended + 1
  end
  return true
end

local function keep_order(ref, load, token)
  -- While the order waits in RQ's queue it stays valid. A worker that took it and died does not keep it alive.
  local id = job_id(ref, token)
  local job = P .. 'rq:job:' .. id
  if redis.call('LPOS', COLD_QUEUE, id) and redis.call('EXISTS', job) == 1 then
    redis.call('PEXPIRE', load, ORDER_TTL_MS)
    redis.call('EXPIRE', job, JOB_TTL_S)
  elseif redis.call('PTTL', load) > CLAIM_TTL_MS then
    redis.call('PEXPIRE', load, CLAIM_TTL_MS)  -- taken: it is claimed soon, or never
  end
end

local function look_at(ref)
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
    placed = placed + place_parked(ref, now, chunk)
  elseif not lease[1] and not unloadable(ref) and breaker(ref, now) ~= 'open' then
    local first = redis.call('XRANGE', parked, '-', '+', 'COUNT', 1)[1]
    order_load(ref, first[1], now)
    ordered = ordered + 1
  end
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', DEADLINES, '-inf', now, 'LIMIT', 0, chunk)) do
  redis.call('ZREM', DEADLINES, id)
  if not guarded(id, expire, id) then redis.call('ZADD', DEADLINES, now + LATER_MS, id) end
end
for _, ref in ipairs(redis.call('SRANDMEMBER', PARKED, chunk)) do guarded(ref, look_at, ref) end
for _, id in ipairs(redis.call('ZRANDMEMBER', DEADLINES, chunk)) do
  if guarded(id, end_if_lost, id, now) then ended = ended + 1 end
end
return {ended, ordered, placed, errors}
