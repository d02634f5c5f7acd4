-- record_stats: what a worker found out of a model that it serves, for later loads and for people (`stats`).
-- use: keys, constants, report, load_target
-- KEYS[1] prefix. ARGV: now, worker, epoch, ref, then field value pairs.
-- Returns 1 | -2 fenced. Writing the same again changes nothing.
local worker, ref = ARGV[2], ARGV[4]
if redis.call('HGET', k('worker', worker), 'epoch') ~= ARGV[3] then return -2 end
open_with_harmless_write()
for i = 5, #ARGV, 2 do redis.call('HSET', k('stats', ref), ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', k('stats', ref), STATS_TTL)
return 1
