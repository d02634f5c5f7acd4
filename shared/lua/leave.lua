-- leave: a drained worker hands back what it has not begun and is forgotten.
-- use: keys, publish, order, placement, wipe
-- KEYS[1] prefix. ARGV: now, worker, epoch, max attempts. Returns 1 left | 0 not registered any more.
local worker = ARGV[2]
if redis.call('HGET', k('worker', worker), 'epoch') ~= ARGV[3] then return 0 end
redis.call('ZREM', WORKERS, worker)
repeat until wipe_worker(worker, tonumber(ARGV[4]), 128, clock()) == 0
return 1
