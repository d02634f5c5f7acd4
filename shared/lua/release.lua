-- release: go on with the release of a worker that `leave` or `fence_worker` began; `reap` does so too.
-- use: keys, constants, changes, queued, report, outcomes, publish, entries, sample, health, holders, model_facts, load_target, blame, cold_queue, order, breaker, bounds, copies, healthy_copy, placement, move, release_worker
-- KEYS[1] prefix. ARGV: now, worker, max attempts, budget, cause. Returns how much is left (call again).
local worker, how = ARGV[2], {attempts = tonumber(ARGV[3]), cause = ARGV[5]}
if not is_released(worker) then return 0 end
open_with_harmless_write()
return release_worker(worker, how, tonumber(ARGV[4]), clock())
