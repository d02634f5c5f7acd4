-- sweep: end requests past their deadlines, and lost ones; order loads again for parked requests without one.
-- use: keys, constants, queued, guarded, grace, report, outcomes, deadline, publish, lost, entries, sample, health, holders, model_facts, load_target, blame, order, breaker, bounds, copies, healthy_copy, placement, parked
-- KEYS[1] prefix. ARGV: now, budget: so many requests are ended or placed in all, where an order counts
--   ORDER_UNITS (order), and so many members of each index are looked at.
-- Returns {requests ended, loads ordered again, requests placed again, {errors of single requests and models}}.
local LATER_MS = 60000  -- until a request that could not be ended is tried again
local now, budget = clock(), tonumber(ARGV[2])
local ended, ordered, placed = 0, 0, 0
open_with_harmless_write()
local grace = grace_of(now)

local function left() return budget - work_done(ended + placed) end

local function expire(id)
  local r = redis.call('HMGET', k('request', id), 'stream', 'entry', 'flags', 'reply', 'model', 'status')
  -- A request whose record names an entry has not ended. If the entry is missing, the stream was lost: it ends here.
  if r[1] and grace and r[6] == 'running' then
    redis.call('ZADD', DEADLINES, grace, id)  -- its worker may not have been able to say so
  elseif r[1] then
    take_entry(r[1], r[2], r[5])
    local outcome, worker = expired_outcome(r[5], r[1], now)
    publish({id = id, flags = r[3], reply = r[4], model = r[5]}, 'expired', worker, outcome, now)
    if r[1] == k('parked', r[5]) then cancel_order(r[5]) end
    ended = ended + 1
  end
  return true
end

-- Orders that wait for longer than the head of the queue were taken from it: they are claimed soon, or never.
local head
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
    placed = placed + place_parked(ref, now, left())
  elseif not lease[1] and not unloadable(ref) and breaker(ref, now) ~= 'open' then
    local first = redis.call('XRANGE', parked, '-', '+', 'COUNT', 1)[1]
    order_load(ref, first[1], now)
    ordered = ordered + 1
  end
end

local function look_at_taken(ref)
  local lease = redis.call('HMGET', k('load', ref), 'token', 'phase')
  if lease[2] == 'ordered' then
    keep_order(ref, k('load', ref), lease[1])
  elseif lease[1] or redis.call('XLEN', k('parked', ref)) == 0 then
    redis.call('ZREM', WAITING_ORDERS, ref)
  else
    look_at(ref)
  end
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', DEADLINES, '-inf', now, 'LIMIT', 0, budget)) do
  redis.call('ZREM', DEADLINES, id)
  if not guarded(id, expire, id) then redis.call('ZADD', DEADLINES, now + LATER_MS, id) end
end
local taken = {}
guarded('the cold queue', function()
  compact_queue()
  head = queue_head(budget)
end)
if head then
  local last = head == math.huge and '+inf' or '(' .. string.format('%.0f', head)
  -- The youngest first: each order that is repeated is the new head.
  for _, ref in ipairs(redis.call('ZREVRANGEBYSCORE', WAITING_ORDERS, last, '-inf', 'LIMIT', 0, budget)) do
    if left() <= 0 then break end
    taken[ref] = true
    guarded(ref, look_at_taken, ref)
  end
end
local refs = redis.call('SRANDMEMBER', PARKED, budget)
table.sort(refs)
for _, ref in ipairs(refs) do
  if left() <= 0 then break end
  if not taken[ref] then guarded(ref, look_at, ref) end
end
-- With many models to look at, few of the requests: an entry is seldom lost.
local drawn = left() > 0 and math.max(math.ceil(budget / 4), left() - #refs) or 0
for _, id in ipairs(redis.call('ZRANDMEMBER', DEADLINES, drawn)) do
  if guarded(id, end_if_lost, id, now) then ended = ended + 1 end
end
return {ended, ordered, placed, errors}
