-- refuse_load: offer an order to the other workers because this one cannot hold the model.
-- use: keys, constants, report, sample, health, holders, model_facts, load_target, blame, order
-- KEYS[1] prefix. ARGV: now, worker, ref, token.
-- Returns 'ordered' (a new order, without this worker) | 'no_worker' (no other worker is left: the
--   lease stays with this worker, which must fail the load) | 'no_capacity' (no worker can take a further
--   copy, which is not ordered again for a while) | 'stale'.
-- A request that a live holder can serve does not fail: the sweep places parked requests on it.
local now, worker, ref = clock(), ARGV[2], ARGV[3]
local r = redis.call('HMGET', k('load', ref), 'token', 'worker', 'refused', 'extra')
if r[1] ~= ARGV[4] or (r[2] ~= '' and r[2] ~= worker) then return 'stale' end
local refused, extra = r[3] or '', r[4] or ''

redis.call('SREM', k('loads', worker), ref)
local names = names_in(refused)
if not names[worker] then refused = refused .. ' ' .. worker end
if is_one_left(ref, now, refused, extra) then
  order_load(ref, ARGV[4], now, {refused = refused, extra = extra})
  return 'ordered'
end
open_with_harmless_write()
if #live_holders(ref, now) > 0 or (extra ~= '' and redis.call('XLEN', k('parked', ref)) == 0) then
  redis.call('DEL', k('load', ref))
  redis.call('SET', k('no_capacity', ref), worker, 'PX', NO_CAPACITY_TTL)
  return 'no_capacity'
end
-- Busy workers were not asked to share the work of others. Now a request waits for a first copy.
if extra == 'scale_out' and is_one_left(ref, now, worker, '') then
  order_load(ref, ARGV[4], now, {refused = worker})
  return 'ordered'
end
redis.call('HSET', k('load', ref), 'worker', worker)
return 'no_worker'
