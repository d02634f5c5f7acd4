-- refuse_load: hand an order back to the other workers because this one can never hold the model.
-- use: keys, order
-- KEYS[1] prefix. ARGV: now, worker, ref, token.
-- Returns 'ordered' (a new order, without this worker) | 'nobody' (no other live worker is left: the
--   lease stays with this worker, which must fail the load) | 'stale'.
local now, worker, ref = clock(), ARGV[2], ARGV[3]
local r = redis.call('HMGET', k('load', ref), 'token', 'worker', 'refused')
if r[1] ~= ARGV[4] or (r[2] ~= '' and r[2] ~= worker) then return 'stale' end
local refused = r[3] or ''
redis.call('SREM', k('loads', worker), ref)
if not string.find(' ' .. refused .. ' ', ' ' .. worker .. ' ', 1, true) then
  refused = refused .. ' ' .. worker
end
for _, other in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, '(' .. now, '+inf')) do
  if not string.find(' ' .. refused .. ' ', ' ' .. other .. ' ', 1, true) then
    order_load(ref, ARGV[4], now, refused)
    return 'ordered'
  end
end
open_with_harmless_write()
redis.call('HSET', k('load', ref), 'worker', worker)
return 'nobody'
