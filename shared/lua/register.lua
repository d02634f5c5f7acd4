-- register: give a worker a new epoch and, in the same step, wipe and re-place what its old one had.
-- use: keys, publish, order, placement, wipe
-- KEYS[1] prefix. ARGV: now, worker, lease ms, max attempts, then field value pairs of its record.
-- Returns the epoch.
local now, worker = clock(), ARGV[2]
redis.call('ZREM', WORKERS, worker)
repeat until wipe_worker(worker, tonumber(ARGV[4]), 128, now) == 0
local epoch = tostring(redis.call('INCR', EPOCH))
redis.call('HSET', k('worker', worker), 'epoch', epoch, 'since', now)
for i = 5, #ARGV, 2 do redis.call('HSET', k('worker', worker), ARGV[i], ARGV[i + 1]) end
redis.call('ZADD', WORKERS, now + tonumber(ARGV[3]), worker)
redis.call('XGROUP', 'CREATE', k('work', worker), 'w', '0', 'MKSTREAM')
return epoch
