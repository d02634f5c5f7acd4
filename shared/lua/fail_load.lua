-- fail_load: a load failed. For good: answer what is parked with the cause. For a passing reason: what was
--   accepted waits on, up to its deadline. Either way the cause is remembered, and new requests get it.
-- use: keys, publish
-- KEYS[1] prefix. ARGV: now, worker, ref, token, 'code message', back-off ms, chunk,
--   passing ('1' or '').
-- Returns parked requests still to be answered (call again) | -1 stale.
local now, worker, ref, cause = clock(), ARGV[2], ARGV[3], ARGV[5]
local load, parked = k('load', ref), k('parked', ref)
local r = redis.call('HMGET', load, 'token', 'worker')
if r[1] ~= ARGV[4] or r[2] ~= worker then return -1 end
open_with_harmless_write()
redis.call('SET', k('unloadable', ref), (ARGV[8] == '1' and '~' or '') .. cause, 'PX', ARGV[6])
if ARGV[8] == '1' then
  redis.call('DEL', load)
  redis.call('SREM', k('loads', worker), ref)
  return 0
end
for _, e in ipairs(redis.call('XRANGE', parked, '-', '+', 'COUNT', ARGV[7])) do
  local item = moving(e[2], parked, e[1])
  if item and take(parked, e[1]) then publish(item, 'failed', worker, cause, now) end
end
local left = redis.call('XLEN', parked)
if left == 0 then
  redis.call('DEL', load, parked)
  redis.call('SREM', k('loads', worker), ref)
  redis.call('SREM', PARKED, ref)
end
return left
