-- record_stats: store what a worker found about a model in service, for later loads and for reports (`stats`).
-- use: keys, changes, model_facts
-- KEYS[1] prefix. ARGV: now, worker, epoch, ref, then field value pairs.
-- Returns 1 | -2 fenced. Repeating the call changes nothing.
local worker, ref = ARGV[2], ARGV[4]
if redis.call('HGET', k('worker', worker), 'epoch') ~= ARGV[3] then return -2 end
open_with_harmless_write()
for i = 5, #ARGV, 2 do
  redis.call('HSET', k('stats', ref), ARGV[i], ARGV[i + 1])
  if ARGV[i] == 'rows' then notify_holders(ref, NOTIFIED.all) end  -- their batches too are wrong
end
redis.call('PEXPIRE', k('stats', ref), STATS_TTL)
return 1
