-- fence_worker: end the epoch of a dead device process. Its parent knows which batch was on the device:
--   only that batch, and the loads in flight, are charged.
-- use: keys, constants, queued, report, outcomes, publish, entries, holders, load_target, order, breaker, bounds, copies, placement, release_worker
-- KEYS[1] prefix. ARGV: now, worker, epoch, batch (0: none ran), cause, max attempts.
-- Returns the number of requests moved | -1 the epoch is not current (another process was faster).
local now, worker, batch, cause = clock(), ARGV[2], ARGV[4], ARGV[5]
if redis.call('HGET', k('worker', worker), 'epoch') ~= ARGV[3] then return -1 end
open_with_harmless_write()
redis.call('ZREM', WORKERS, worker)
local stream, blamed = k('work', worker), {}
for entry, number in pairs(as_table(redis.call('HGETALL', k('started', worker)))) do
  local e = number == batch and redis.call('XRANGE', stream, entry, entry)[1]
  local ref = e and as_table(e[2]).model
  if ref then blamed[ref] = true end
end
for _, ref in ipairs(redis.call('SMEMBERS', k('loads', worker))) do
  if redis.call('HGET', k('load', ref), 'worker') == worker then blamed[ref] = true end
end
for ref in pairs(blamed) do charge_crash(ref, cause, now) end
local moved = redis.call('XLEN', stream)
local how = {attempts = tonumber(ARGV[6]), cause = cause, batch = batch}
repeat until release_worker(worker, how, 128, now) == 0
return moved
