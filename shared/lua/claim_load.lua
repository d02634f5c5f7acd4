-- claim_load: take the load of an order.
-- use: keys, constants, report, sample, health, holders, model_facts, load_target, blame, cold_queue, order, breaker
-- KEYS[1] prefix. ARGV: now, worker, epoch, ref, token, lease ms.
-- Returns 'claimed' | 'suspect' (claimed, but it has crashed a worker: load it while nothing else runs)
--   | 'stale' (token taken or replaced) | 'unwanted' (no request waits, or its session is over) | 'refused'
--   (this worker refused it before or failed a short while ago, holds the model, or a healthier one can
--   load it) | 'later' (another worker can load it sooner and has a head start: call again after it) | 'fenced'.
local TRIAL_MS = 30000  -- between two loads of a suspect worker, if a healthier one could have them
local worker, ref, token, now = ARGV[2], ARGV[4], ARGV[5], clock()
if redis.call('HGET', k('worker', worker), 'epoch') ~= ARGV[3] then return 'fenced' end
local load = k('load', ref)
local r = redis.call('HMGET', load, 'token', 'worker', 'refused', 'extra', 'for', 'since', 'all_failed', 'larger')
local refused, extra, chosen = r[3] or '', r[4] or '', r[5] or ''
if r[1] ~= token or r[2] ~= '' then return 'stale' end
local over = extra == 'session' and redis.call('EXISTS', k('pinned', ref)) == 0
if (extra == '' or over) and redis.call('XLEN', k('parked', ref)) == 0 then
  cancel_order(ref, over)
  return 'unwanted'
end
if excluding(ref, now, refused, extra, r[8], r[7] == '1')(worker) then return 'refused' end
local rank = rank_of(worker, ref)
if rank > 0 and (chosen ~= worker or rank == RANKS.sick) then
  local _, soonest, least = fastest_loader(ref, now, excluding(ref, now, refused .. ' ' .. worker, extra, r[8]))
  local trial = rank < RANKS.sick and now >= (trial_load_at(worker) or now) + TRIAL_MS
  if soonest and least < rank and not trial then return 'refused' end
end
if chosen ~= '' and chosen ~= worker and now < tonumber(r[6]) + HEAD_START_MS then return 'later' end
open_with_harmless_write()
if rank > 0 then set_trial_load(worker, now) end
redis.call('HSET', load, 'worker', worker, 'phase', 'loading', 'since', now)
redis.call('PEXPIRE', load, ARGV[6])
redis.call('SADD', k('loads', worker), ref)
forget_order(ref, token)
return crashes_of(ref) > 0 and 'suspect' or 'claimed'
