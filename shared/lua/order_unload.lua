-- order_unload: free every copy of a model. The next request loads it again.
-- use: keys, constants, changes, report, sample, health, holders, model_facts, load_target, blame, cold_queue, order, breaker, copies
-- KEYS[1] prefix. ARGV: now, ref.
-- Returns the number of live workers that got the order | -1 (it is pinned, or a session requires it).
-- The minimum number of copies becomes 0, otherwise the copies would be loaded again.
local now, ref = clock(), ARGV[2]
if setting_of(ref, 'pin') == 1 or redis.call('EXISTS', k('pinned', ref)) == 1 then return -1 end
if least_copies(ref) > 0 then redis.call('HSET', k('policy', ref), 'min_copies', '0', 'preload', '0') end
redis.call('SREM', MIN_COPIES, ref)
cancel_order(ref, true)
local live = {}
for _, worker in ipairs(redis.call('HKEYS', k('holders', ref))) do
  if tonumber(redis.call('ZSCORE', WORKERS, worker) or 0) > now then live[#live + 1] = worker end
end
for _, worker in ipairs(live) do
  local orders, order = k('orders', worker), 'unload ' .. ref
  redis.call('LREM', orders, 0, order)
  redis.call('LPUSH', orders, order)  -- before the loads that wait there
  redis.call('PEXPIRE', orders, DIRECT_TTL_MS)
end
return #live
