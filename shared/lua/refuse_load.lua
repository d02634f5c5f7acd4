-- refuse_load: offer an order to the other workers because this one cannot hold the model.
-- use: keys, constants, report, sample, health, holders, model_facts, load_target, blame, cold_queue, order
-- KEYS[1] prefix. ARGV: now, worker, ref, token, '1' if it would not fit an empty device either: then it is not offered
--   to a worker with as small a budget, and a fleet is not asked one by one. So it goes to MOST_REFUSED workers at most.
-- Returns 'ordered' (a new order, without this worker) | 'no_worker' (no other worker is left: the
--   lease stays with this worker, which must fail the load) | 'no_capacity' (no worker can take a further
--   copy, which is not ordered again for a while) | 'stale'.
-- A request that a live holder can serve does not fail: the sweep places parked requests on it.
local MOST_REFUSED = 32
local now, worker, ref = clock(), ARGV[2], ARGV[3]
local r = redis.call('HMGET', k('load', ref), 'token', 'worker', 'refused', 'extra', 'larger')
if r[1] ~= ARGV[4] or (r[2] ~= '' and r[2] ~= worker) then return 'stale' end
local refused, extra, larger = r[3] or '', r[4] or '', tonumber(r[5] or 0) or 0
if ARGV[5] == '1' then larger = math.max(larger, facts(worker).budget) end

redis.call('SREM', k('loads', worker), ref)
if not names_in(refused)[worker] then refused = refused .. ' ' .. worker end
local _, number = string.gsub(refused, '%S+', '')
local waits = redis.call('XLEN', k('parked', ref)) > 0  -- else it was to have again what its process had held before
if (waits or extra ~= '') and number < MOST_REFUSED and is_one_left(ref, now, refused, extra, larger) then
  order_load(ref, ARGV[4], now, {refused = refused, extra = extra, larger = larger})
  return 'ordered'
end
open_with_harmless_write()
if not waits or #live_holders(ref, now) > 0 then
  redis.call('DEL', k('load', ref))
  redis.call('SET', k('no_capacity', ref), worker, 'PX', NO_CAPACITY_TTL)
  return 'no_capacity'
end
-- Busy workers were not asked to share the work of others. Now a request waits for a first copy.
if extra == 'scale_out' and is_one_left(ref, now, worker, '', larger) then
  order_load(ref, ARGV[4], now, {refused = worker, larger = larger})
  return 'ordered'
end
redis.call('HSET', k('load', ref), 'worker', worker)
return 'no_worker'
