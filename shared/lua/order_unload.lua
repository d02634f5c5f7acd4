-- order_unload: free every copy of a model. The next request loads it again.
-- use: keys, constants, changes, report, sample, health, holders, model_facts, load_target, blame, cold_queue, order, breaker, copies
-- KEYS[1] prefix. ARGV: now, ref, cursor ('0' in the first call), how many holders in about this call.
-- Returns {the number of live workers that got the order, cursor of the next call ('0': all have got it)} |
--   {-1, '0'} (it is pinned, or a session requires it).
-- The minimum number of copies becomes 0, otherwise the copies would be loaded again.
local now, ref = clock(), ARGV[2]
if setting_of(ref, 'pin') == 1 or redis.call('EXISTS', k('pinned', ref)) == 1 then return {-1, '0'} end
if least_copies(ref) > 0 then redis.call('HSET', k('policy', ref), 'min_copies', '0', 'preload', '0') end
redis.call('SREM', MIN_COPIES, ref)
cancel_order(ref, true)
local found = redis.call('HSCAN', k('holders', ref), ARGV[3], 'COUNT', ARGV[4])
local holders, order = {}, 'unload ' .. ref
for i = 1, #found[2], 2 do holders[#holders + 1] = found[2][i] end
local live = alive(holders, now)
for _, worker in ipairs(live) do
  local orders = k('orders', worker)
  redis.call('LREM', orders, 0, order)
  redis.call('LPUSH', orders, order)  -- before the loads that wait there
  redis.call('LTRIM', orders, 0, ORDERS_MAX - 1)
  redis.call('PEXPIRE', orders, DIRECT_TTL_MS)
end
return {#live, found[1]}
