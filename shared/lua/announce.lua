-- announce: make a worker a holder of a loaded model and its version live; place parked requests, in chunks.
-- use: keys, constants, changes, queued, report, outcomes, publish, entries, sample, health, holders, model_facts, load_target, loaded_versions, blame, cold_queue, order, breaker, bounds, copies, healthy_copy, placement, parked
-- KEYS[1] prefix. ARGV: now, worker, epoch, ref, token ('' announces a copy that is already held),
--   'tier bytes', chunk, then field value pairs that the load measured (`stats`).
-- Returns parked requests left to place (call again) | -1 stale token | -2 fenced.
local now, worker, ref, token = clock(), ARGV[2], ARGV[4], ARGV[5]
if redis.call('HGET', k('worker', worker), 'epoch') ~= ARGV[3] then return -2 end
local load, parked = k('load', ref), k('parked', ref)
local lease = redis.call('HMGET', load, 'token', 'worker')
if token ~= '' and (lease[1] ~= token or lease[2] ~= worker) then
  -- Announced before, and the answer was lost: the worker is a holder already.
  if redis.call('HEXISTS', k('holders', ref), worker) == 0 then return -1 end
  token = ''
end
open_with_harmless_write()
if redis.call('HSETNX', k('holders', ref), worker, ARGV[6] .. ' ' .. now) == 1 then notify_holders(ref, NOTIFIED.some) end
redis.call('SADD', k('holds', worker), ref)
note_warm(ref, worker, '', '')
note_leaving(ref, worker, nil)
redis.call('HDEL', k('failed_on', ref), worker)
if #ARGV > 7 then
  local rows = redis.call('HGET', k('stats', ref), 'rows')
  for i = 8, #ARGV, 2 do redis.call('HSET', k('stats', ref), ARGV[i], ARGV[i + 1]) end
  if redis.call('HGET', k('stats', ref), 'rows') ~= rows then notify_holders(ref, NOTIFIED.all) end
  redis.call('PEXPIRE', k('stats', ref), STATS_TTL)
end
note_loaded_version(ref)
if #ARGV > 7 and least_copies(ref) > 0 then redis.call('SADD', MIN_COPIES, ref) end
-- A worker whose lease has expired gets nothing. Parked requests wait for the sweep, which places them when
-- the lease is renewed, or orders another load.
local is_alive = tonumber(redis.call('ZSCORE', WORKERS, worker) or 0) > now
local waits = not is_alive
if is_alive then
  local _, rest_waits = place_parked(ref, now, tonumber(ARGV[7]))
  waits = rest_waits
end
local left = redis.call('XLEN', parked)
if left == 0 then
  redis.call('DEL', k('unloadable', ref))
  cancel_order(ref)
elseif waits then
  left = 0
end
if left == 0 and token ~= '' then
  redis.call('DEL', load)
  redis.call('SREM', k('loads', worker), ref)
end
return left
