-- leave: deregister a drained worker; requests that it has not started are placed again.
-- use: keys, constants, changes, queued, report, outcomes, publish, entries, sample, health, holders, model_facts, load_target, blame, cold_queue, order, breaker, bounds, copies, healthy_copy, placement, move, release_worker
-- KEYS[1] prefix. ARGV: now, worker, epoch, max attempts, budget.
-- Returns 1 left: call `release` until all is placed again | 0 not registered any more.
local worker = ARGV[2]
if redis.call('HGET', k('worker', worker), 'epoch') ~= ARGV[3] then return 0 end
local how = {attempts = tonumber(ARGV[4]), cause = 'its worker stopped before it was done'}
release_worker(worker, how, tonumber(ARGV[5]), clock())
return 1
