-- fail_load: record a failed load. A permanent cause answers the parked requests. With a temporary cause they
--   keep waiting, up to their deadlines. In both cases the cause is kept, and new requests get it.
-- use: keys, constants, queued, report, outcomes, publish, entries, holders, load_target, loaded_versions, order
-- KEYS[1] prefix. ARGV: now, worker, ref, token, 'code message', back-off ms, chunk,
--   temporary ('1' or ''), device class, the full cause for the log. Workers of another class that have not failed
--   get the order first. A request that a live holder can serve does not fail.
-- Returns parked requests still to be answered (call again) | -1 stale.
local now, worker, ref, cause = clock(), ARGV[2], ARGV[3], ARGV[5]
local load, parked = k('load', ref), k('parked', ref)
local r = redis.call('HMGET', load, 'token', 'worker', 'refused', 'extra')
if r[1] ~= ARGV[4] or r[2] ~= worker then return -1 end
open_with_harmless_write()
if ARGV[8] ~= '1' then
  redis.call('SADD', k('incompatible', ref), ARGV[9])
  redis.call('PEXPIRE', k('incompatible', ref), ARGV[6])
  local extra, refused = r[4], (r[3] or '') .. ' ' .. worker
  if (extra or '') ~= '' and redis.call('XLEN', parked) > 0 then
    extra, refused = '', worker -- holders could not take a further copy; now a request waits for a first one
  end
  local incompatible = incompatible_workers(ref, now, refused)
  for _, other in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, '(' .. now, '+inf')) do
    if not is_among(other, refused .. incompatible) then
      redis.call('SREM', k('loads', worker), ref)
      order_load(ref, ARGV[4], now, {refused = refused, extra = extra})
      return 0
    end
  end
end
note_refused(ref, now, tonumber(ARGV[6]))
redis.call('SET', k('unloadable', ref), (ARGV[8] == '1' and '~' or '') .. cause, 'PX', ARGV[6])
if ARGV[8] == '1' or #live_holders(ref, now) > 0 then
  redis.call('DEL', load)
  redis.call('SREM', k('loads', worker), ref)
  return 0
end
forget_version(ref)
for _, e in ipairs(redis.call('XRANGE', parked, '-', '+', 'COUNT', ARGV[7])) do
  local item = moving(e[2], parked, e[1])
  if item and take_entry(parked, e[1], item.model) then
    item.cause = ARGV[10]
    publish(item, 'failed', worker, cause, now)
  end
end
local left = redis.call('XLEN', parked)
if left == 0 then
  redis.call('DEL', load, parked)
  redis.call('SREM', k('loads', worker), ref)
  redis.call('SREM', PARKED, ref)
end
return left
