-- order_copy: order a load ahead of requests (preload, the load API, a trial).
-- use: keys, constants, changes, report, sample, health, holders, model_facts, load_target, loaded_versions, blame, cold_queue, order, breaker, copies
-- KEYS[1] prefix. ARGV: now, ref, minimum number of copies from now on ('' leaves it unchanged; '0': it has left
--   the repository, and nothing of it is kept), '1' if it is a trial (else '').
-- Returns {'held', copies} | {'loading', phase} | {'ordered', ''} | {'unloadable' | 'quarantined', cause}
--   | {'no_worker', ''} (no worker is alive, or none can take it) | {'resting', ''} (a trial is not due, or it
--   has crashed workers). With 0 copies nothing is ordered: {'held', copies}.
local now, ref, least, trial = clock(), ARGV[2], ARGV[3], ARGV[4] == '1'
if least == '0' then
  let_go(ref)
  cancel_order(ref, true)
  return {'held', tostring(#live_holders(ref, now))}
end
if least ~= '' then
  redis.call('HSET', k('stats', ref), 'min_copies', least)
  redis.call('PEXPIRE', k('stats', ref), STATS_TTL)
  if is_replaced(ref) then clear_min_copies(ref) end  -- the gateway may not know of it yet
  if least_copies(ref) > 0 then redis.call('SADD', MIN_COPIES, ref) end
end
local copies = live_copies(ref, now)
if copies > 0 then return {'held', tostring(copies)} end
local phase = redis.call('HGET', k('load', ref), 'phase')
if phase then return {'loading', phase} end
local state, cause = breaker(ref, now)
if state == 'open' then return {'quarantined', cause} end
local why = unloadable(ref)
if why then return {'unloadable', why} end
if trial and (rests(ref, now) or crashes_of(ref) > TRIAL_CRASHES) then return {'resting', ''} end
if order_missing(ref, now, trial and 'trial' or 'requested') then
  if trial then note_trial(ref, now) end
  return {'ordered', ''}
end
return {'no_worker', ''}
