-- set_policy: override fields of a model version's residency policy.
-- use: keys, changes, model_facts
-- KEYS[1] prefix. ARGV: now, ref, then field value pairs ('' removes the override).
-- Returns the overrides that are now in force, as a flat list.
local ref, key = ARGV[2], k('policy', ARGV[2])
for i = 3, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', key, ARGV[i])
  else
    redis.call('HSET', key, ARGV[i], ARGV[i + 1])
  end
end
if least_copies(ref) > 0 then redis.call('SADD', MIN_COPIES, ref) end
if #ARGV > 2 then notify_holders(ref, NOTIFIED.all) end
return redis.call('HGETALL', key)
