-- renew_load: keep a claimed load lease alive.
-- use: keys, constants
-- KEYS[1] prefix. ARGV: now, worker, ref, token, lease ms, why it waits ('' it does not), for how much longer the
--   key stays, ms: a stall of Redis must not delete the lease of a load that goes on. Returns 1 kept | 0 lost.
local load = k('load', ARGV[3])
local r = redis.call('HMGET', load, 'token', 'worker')
if r[1] ~= ARGV[4] or r[2] ~= ARGV[2] then return 0 end
open_with_harmless_write()
if ARGV[6] ~= (redis.call('HGET', load, 'why') or '') then redis.call('HSET', load, 'why', ARGV[6]) end
redis.call('HSET', load, 'until', clock() + ARGV[5])
return redis.call('PEXPIRE', load, ARGV[5] + ARGV[7])
