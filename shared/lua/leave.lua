-- leave: deregister a drained worker; requests that it has not started are placed again.
-- use: keys, constants, queued, report, outcomes, publish, entries, sample, health, holders, model_facts, load_target, blame, order, breaker, bounds, copies, healthy_copy, placement, release_worker
-- KEYS[1] prefix. ARGV: now, worker, epoch, max attempts. Returns 1 left | 0 not registered any more.
local worker = ARGV[2]
if redis.call('HGET', k('worker', worker), 'epoch') ~= ARGV[3] then return 0 end
redis.call('ZREM', WORKERS, worker)
local how = {attempts = tonumber(ARGV[4]), cause = 'its worker stopped before it was done'}
repeat until release_worker(worker, how, 128, clock()) == 0
return 1
