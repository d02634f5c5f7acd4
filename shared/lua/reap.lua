-- reap: release one worker whose lease has expired and place its requests again, in bounded chunks.
-- use: keys, constants, report, outcomes, publish, entries, health, holders, load_target, blame, order, breaker, bounds, copies, healthy_copy, placement, release_worker
-- KEYS[1] prefix. ARGV: now, max attempts, chunk.
-- Returns {worker, entries left}, or {} if no lease has expired. Any gateway may call it at any time.
local now = clock()
local worker = redis.call('ZRANGEBYSCORE', WORKERS, '-inf', now, 'LIMIT', 0, 1)[1]
if not worker then return {} end
local how = {attempts = tonumber(ARGV[2]), cause = 'the lease of its worker expired'}
local left = release_worker(worker, how, ARGV[3], now)
if left == 0 then redis.call('ZREM', WORKERS, worker) end
return {worker, left}
