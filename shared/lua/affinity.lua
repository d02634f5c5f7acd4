-- affinity: a claimed load goes to the worker that has the most of its kin.
-- use: keys, holders, nearest, order
-- KEYS[1] prefix. ARGV: now, worker, ref, token, affinity key, mode (prefer | require).
-- Returns 'here' | 'elsewhere' (the order was handed on to that worker) | 'nowhere' (the worker that has
--   the kin cannot take it: only with require) | 'stale'.
-- With prefer an order is handed on once; with require until it is there.
local CHUNK = 256
local now, worker, ref, mode = clock(), ARGV[2], ARGV[3], ARGV[6]
local load, kin = k('load', ref), k('kin', ARGV[5])
local r = redis.call('HMGET', load, 'token', 'worker', 'refused', 'extra', 'handed_on')
if r[1] ~= ARGV[4] or r[2] ~= worker then return 'stale' end
redis.call('SADD', kin, ref)
redis.call('PEXPIRE', kin, KNOWN_TTL)
local count, best = {}, nil
local function add(other)
  count[other] = (count[other] or 0) + 1
  if not best or count[other] > count[best] or (count[other] == count[best] and other < best) then
    best = other
  end
end
local kindred = redis.call('SMEMBERS', kin)
table.sort(kindred)
for i = 1, math.min(#kindred, CHUNK) do
  if kindred[i] ~= ref then
    for _, holder in ipairs(live_holders(kindred[i], now)) do add(holder) end
    local loader = redis.call('HGET', k('load', kindred[i]), 'worker')
    if tonumber(redis.call('ZSCORE', WORKERS, loader or '') or 0) > now then add(loader) end
  end
end
if not best or best == worker or (mode == 'prefer' and r[5]) then return 'here' end
if is_among(best, r[3] or '') then return mode == 'require' and 'nowhere' or 'here' end
redis.call('SREM', k('loads', worker), ref)
order_load(ref, ARGV[4], now, {refused = r[3], extra = r[4], worker = best})
redis.call('HSET', load, 'handed_on', worker)
return 'elsewhere'
