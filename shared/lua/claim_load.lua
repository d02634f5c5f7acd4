-- claim_load: take the load that an order invites to.
-- use: keys, order, breaker
-- KEYS[1] prefix. ARGV: now, worker, epoch, ref, token, lease ms.
-- Returns 'claimed' | 'suspect' (claimed, but it has crashed a worker: load it while nothing else runs)
--   | 'stale' (token taken or replaced) | 'unwanted' (nobody waits) | 'refused'
--   (this worker handed it back before) | 'fenced'.
local worker, ref, token = ARGV[2], ARGV[4], ARGV[5]
if redis.call('HGET', k('worker', worker), 'epoch') ~= ARGV[3] then return 'fenced' end
local load = k('load', ref)
local r = redis.call('HMGET', load, 'token', 'worker', 'refused')
if r[1] ~= token or r[2] ~= '' then return 'stale' end
if redis.call('XLEN', k('parked', ref)) == 0 then
  unorder(ref)
  return 'unwanted'
end
if string.find(' ' .. (r[3] or '') .. ' ', ' ' .. worker .. ' ', 1, true) then return 'refused' end
open_with_harmless_write()
redis.call('HSET', load, 'worker', worker, 'phase', 'loading', 'since', clock())
redis.call('PEXPIRE', load, ARGV[6])
redis.call('SADD', k('loads', worker), ref)
return crashes_of(ref) > 0 and 'suspect' or 'claimed'
