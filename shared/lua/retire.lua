-- retire: stop placing requests for a model on this worker, which drains the placed ones, then frees it.
-- use: keys, constants, changes, report, sample, health, holders, model_facts, load_target, blame, cold_queue, order, breaker, copies
-- KEYS[1] prefix. ARGV: now, worker, epoch, ref, tier in which a copy remains ('' | host | disk),
--   mode ('' always | gone the worker has no copy that takes requests: the map is put right, and of what drains
--   nothing is noted | evict unless it must stay | spare also unless the other holders have time for its work),
--   its share of this device's time (0 to 1).
-- Returns the last entry id of the work stream: the worker must drain up to it | '' fenced | 'pinned' |
--   'needed' (it stays: nothing was changed).
local worker, epoch, ref, mode, now = ARGV[2], ARGV[3], ARGV[4], ARGV[6], clock()
if redis.call('HGET', k('worker', worker), 'epoch') ~= epoch then return '' end
if mode == 'evict' or mode == 'spare' then
  local why = eviction_veto(ref, worker, mode == 'spare' and tonumber(ARGV[7]), now)
  if why then return why end
end
redis.call('HDEL', k('holders', ref), worker)
redis.call('SREM', k('holds', worker), ref)
notify_holders(ref, NOTIFIED.some)
if mode ~= 'gone' then
  note_leaving(ref, worker, epoch)
  note_warm(ref, worker, epoch, ARGV[5])
end
local last = redis.call('XREVRANGE', k('work', worker), '+', '-', 'COUNT', 1)
return last[1] and last[1][1] or '0-0'
