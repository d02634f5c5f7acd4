-- route_by_affinity: a claimed load goes to the worker that has the most models of its affinity key.
-- use: keys, constants, report, sample, health, holders, model_facts, load_target, blame, cold_queue, order
-- KEYS[1] prefix. ARGV: now, worker, ref, token, affinity key, mode (prefer | require), most models of
--   the key on one worker (0: any number).
-- Returns 'here' | 'elsewhere' (the order was handed on to that worker) | 'nowhere' (the worker that has
--   those models cannot take it; only with require) | 'stale'.
-- With prefer an order is handed on once; with require until it is there.
local CHUNK = 256
local now, worker, ref, mode, most = clock(), ARGV[2], ARGV[3], ARGV[6], tonumber(ARGV[7])
local load, family = k('load', ref), k('affinity', ARGV[5])
local r = redis.call('HMGET', load, 'token', 'worker', 'refused', 'extra', 'handed_on', 'larger')
if r[1] ~= ARGV[4] or r[2] ~= worker then return 'stale' end
open_with_harmless_write()
redis.call('SADD', family, ref)
redis.call('PEXPIRE', family, STATS_TTL)
local count, best = {}, nil
-- A sick worker leaves: nothing goes there, whatever it holds; with prefer nothing goes to a suspect one either.
local too_ill = mode == 'prefer' and RANKS.suspect or RANKS.sick
local function fits(other) return facts(other).ready and (other == worker or rank_of(other, ref) < too_ill) end

local function add(other)
  if not fits(other) then return end
  count[other] = (count[other] or 0) + 1
end

-- With prefer a worker that has its maximum is skipped: the next model starts on another worker.
local function is_full(other) return mode == 'prefer' and most > 0 and (count[other] or 0) >= most end

local function choose(workers)
  for _, other in ipairs(workers) do
    local more = not best or (count[other] or 0) > (count[best] or 0)
    if not is_full(other) and more then best = other end
  end
end
local siblings = redis.call('SMEMBERS', family)
table.sort(siblings)
for i = 1, math.min(#siblings, CHUNK) do
  if siblings[i] ~= ref then
    for _, holder in ipairs(live_holders(siblings[i], now)) do add(holder) end
    local loader = redis.call('HGET', k('load', siblings[i]), 'worker')
    if tonumber(redis.call('ZSCORE', WORKERS, loader or '') or 0) > now then add(loader) end
    -- A model without a holder or a load is removed from the set until it is loaded again.
    if not loader and #live_holders(siblings[i], now) == 0 then redis.call('SREM', family, siblings[i]) end
  end
end
local named = {}
for other in pairs(count) do named[#named + 1] = other end
table.sort(named)
choose(named)
if not best and is_full(worker) then
  local ready = {}
  for _, other in ipairs(live_workers(now)) do
    if fits(other) then ready[#ready + 1] = other end
  end
  choose(ready)
end
if not best or best == worker or (mode == 'prefer' and r[5]) then return 'here' end
if excluding(ref, now, r[3] or '', r[4] or '', r[6])(best) then return mode == 'require' and 'nowhere' or 'here' end
redis.call('SREM', k('loads', worker), ref)
if order_load(ref, ARGV[4], now, {refused = r[3], extra = r[4], larger = r[6], worker = best}) then
  redis.call('HSET', load, 'handed_on', worker)
end
return 'elsewhere'
