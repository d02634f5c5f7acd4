-- refuse_load: hand an order back to the other workers because this one cannot hold the model.
-- use: keys, holders, nearest, order
-- KEYS[1] prefix. ARGV: now, worker, ref, token.
-- Returns 'ordered' (a new order, without this worker) | 'nobody' (no other live worker is left: the
--   lease stays with this worker, which must fail the load) | 'crowded' (nor is one left for a further
--   copy, which is not ordered again for a while) | 'stale'.
local CROWDED = 5000
local now, worker, ref = clock(), ARGV[2], ARGV[3]
local r = redis.call('HMGET', k('load', ref), 'token', 'worker', 'refused', 'extra')
if r[1] ~= ARGV[4] or (r[2] ~= '' and r[2] ~= worker) then return 'stale' end
local refused, extra = r[3] or '', r[4] or ''
redis.call('SREM', k('loads', worker), ref)
if not is_among(worker, refused) then refused = refused .. ' ' .. worker end
for _, other in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, '(' .. now, '+inf')) do
  if not is_among(other, refused) then
    order_load(ref, ARGV[4], now, {refused = refused, extra = extra})
    return 'ordered'
  end
end
open_with_harmless_write()
if extra ~= '' and redis.call('XLEN', k('parked', ref)) == 0 then
  redis.call('DEL', k('load', ref))
  redis.call('SET', k('crowded', ref), worker, 'PX', CROWDED)
  return 'crowded'
end
redis.call('HSET', k('load', ref), 'worker', worker)
return 'nobody'
