-- fence_worker: end the epoch of a dead device process. Its parent knows which batch was on the device:
--   only that batch, and the loads in flight, are charged. If a request of the batch is to blame, nothing else is.
-- use: keys, constants, changes, queued, report, outcomes, publish, entries, sample, health, holders, model_facts, load_target, blame, cold_queue, order, breaker, crashes, bounds, copies, healthy_copy, placement, move, release_worker
-- KEYS[1] prefix. ARGV: now, worker, epoch, batch (0: none ran), cause, max attempts,
--   charge models and worker ('1', or '': a request is to blame), budget.
-- Returns the number of requests to move: call `release` until they are |
--   -1 the epoch is not current (another process was faster).
local now, worker, batch, cause = clock(), ARGV[2], ARGV[4], ARGV[5]
if redis.call('HGET', k('worker', worker), 'epoch') ~= ARGV[3] then return -1 end
open_with_harmless_write()
redis.call('ZADD', WORKERS, 0, worker)
local LOADS_MOST = 64  -- in flight at once: far more than a worker loads
local stream, crashed, loaded = k('work', worker), {}, {}  -- ref -> whether all its requests had crashed one before
for entry, number in pairs(as_table(redis.call('HGETALL', k('started', worker)))) do
  local e = number == batch and redis.call('XRANGE', stream, entry, entry)[1]
  if number ~= batch then redis.call('HDEL', k('started', worker), entry) end  -- its move charges no start
  local fields = e and as_table(e[2])
  if fields and fields.model then
    crashed[fields.model] = crashed[fields.model] ~= false and (tonumber(fields.attempts) or 0) > 0
  end
end
for _, ref in ipairs(redis.call('SRANDMEMBER', k('loads', worker), LOADS_MOST)) do
  if redis.call('HGET', k('load', ref), 'worker') == worker then loaded[ref] = false end
end
if ARGV[7] ~= '' then
  local sole = note_crash(worker, next(crashed) and crashed or loaded)
  for ref, retried in pairs(crashed) do charge_crash(ref, worker, cause, now, retried, sole) end
  for ref in pairs(loaded) do
    if crashed[ref] == nil then charge_crash(ref, worker, cause, now, false, sole) end
  end
end
local moved = redis.call('XLEN', stream)
release_worker(worker, {attempts = tonumber(ARGV[6]), cause = cause}, tonumber(ARGV[8]), now)
return moved
