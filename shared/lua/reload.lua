-- reload: a restarted worker claims the load of a model that it held before.
-- use: keys, constants, report, sample, health, holders, model_facts, load_target, blame, breaker
-- KEYS[1] prefix. ARGV: now, worker, epoch, ref, lease ms.
-- Returns the load token | '' (fenced, held, being loaded, there are as many copies as there may be, or
--   it has crashed workers or failed lately, or a healthier worker can load it).
local now, worker, ref = clock(), ARGV[2], ARGV[4]
if redis.call('HGET', k('worker', worker), 'epoch') ~= ARGV[3] then return '' end
local failed = failures_of(ref)[worker]
if redis.call('EXISTS', k('load', ref), k('unloadable', ref)) > 0 or crashes_of(ref) > 1
  or (failed and failed.ends > now) or redis.call('HEXISTS', k('holders', ref), worker) == 1 then return '' end
local most = setting_of(ref, 'max_copies')
if most > 0 and live_copies(ref, now) >= most then return '' end
local rank = rank_of(worker, ref)
if rank > 0 then
  local _, soonest, least = fastest_loader(ref, now, excluding(ref, now, worker, ''))
  if soonest and least < rank then return '' end
end
local token = string.sub(redis.sha1hex(worker .. ARGV[3] .. ref .. now), 1, 24)
redis.call('HSET', k('load', ref), 'token', token, 'phase', 'loading', 'worker', worker, 'since', now,
  'refused', '')
redis.call('PEXPIRE', k('load', ref), ARGV[5])
redis.call('SADD', k('loads', worker), ref)
return token
