-- sweep: end requests past their deadlines, and lost ones; order loads again for parked requests without one.
-- use: keys, constants, queued, guarded, grace, report, outcomes, deadline, publish, lost, entries, sample, health, holders, model_facts, load_target, blame, cold_queue, order, breaker, bounds, copies, healthy_copy, placement, parked, waiting_models
-- KEYS[1] prefix. ARGV: now, budget: so many requests are ended or placed in all, where an order counts
--   ORDER_UNITS (order), and so many members of each index are looked at.
-- Returns {requests ended, loads ordered again, requests placed again, {errors of single requests and models}}.
local LATER_MS = 60000  -- until a request that could not be ended is tried again
local now, budget = clock(), tonumber(ARGV[2])
open_with_harmless_write()
local grace = grace_of(now)

local function left() return budget - work_done(swept.ended + swept.placed) end

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
    swept.ended = swept.ended + 1
  end
  return true
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
    guarded(ref, look_at_taken, ref, now, grace, left())
  end
end
local refs = redis.call('SRANDMEMBER', PARKED, budget)
table.sort(refs)
for _, ref in ipairs(refs) do
  if left() <= 0 then break end
  if not taken[ref] then guarded(ref, look_at, ref, now, grace, left()) end
end
-- With many models to look at, few of the requests: an entry is seldom lost.
local drawn = left() > 0 and math.max(math.ceil(budget / 4), left() - #refs) or 0
for _, id in ipairs(redis.call('ZRANDMEMBER', DEADLINES, drawn)) do
  if guarded(id, end_if_lost, id, now) then swept.ended = swept.ended + 1 end
end
return {swept.ended, swept.ordered, swept.placed, errors}
