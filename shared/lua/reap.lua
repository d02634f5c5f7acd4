-- reap: release one worker whose lease has expired and place its requests again, a bounded part.
-- use: keys, constants, changes, queued, guarded, grace, report, outcomes, publish, entries, sample, health, holders, model_facts, load_target, blame, cold_queue, order, breaker, bounds, copies, healthy_copy, placement, move, release_worker
-- KEYS[1] prefix. ARGV: now, max attempts, budget.
-- Returns {worker, how much of it is left}, or {} if no lease has expired, Redis was away less than a lease ago
-- (lib/grace), or no gateway has kept the clock yet. Any gateway may call it at any time.
-- One that cannot be released is passed over: {error, -1} if only such are left.
local CANDIDATES = 8
local now = clock()
local grace, kept = grace_of(now)
if grace or not kept then return {} end
open_with_harmless_write()
local how = {attempts = tonumber(ARGV[2]), cause = 'the lease of its worker expired'}
local over = redis.call('ZRANGEBYSCORE', WORKERS, '-inf', now, 'LIMIT', 0, CANDIDATES)
for _, worker in ipairs(over) do
  local left = guarded(worker, release_worker, worker, how, tonumber(ARGV[3]), now)
  if left then return {worker, left} end
end
return over[1] and {errors[1], -1} or {}
