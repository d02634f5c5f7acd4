-- reap: release one worker whose lease has expired and place its requests again, in bounded chunks.
-- use: keys, constants, queued, stall, report, outcomes, publish, entries, holders, load_target, order, breaker, bounds, copies, placement, release_worker
-- KEYS[1] prefix. ARGV: now, max attempts, chunk, lease ms.
-- Returns {worker, entries left}, or {} if no lease has expired, or Redis was away less than a lease ago: then
-- leases are extended instead (lib/stall). Any gateway may call it at any time.
local now, lease = clock(), tonumber(ARGV[4])
open_with_harmless_write()
local grace, back = grace_after_stall(now, lease)
if grace then
  extend_leases(WORKERS, now, lease, grace, back)
  return {}
end
local worker = redis.call('ZRANGEBYSCORE', WORKERS, '-inf', now, 'LIMIT', 0, 1)[1]
if not worker then return {} end
local how = {attempts = tonumber(ARGV[2]), cause = 'the lease of its worker expired'}
local left = release_worker(worker, how, ARGV[3], now)
if left == 0 then redis.call('ZREM', WORKERS, worker) end
return {worker, left}
