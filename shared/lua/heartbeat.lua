-- heartbeat: renew a worker's lease and write its report.
-- use: keys, constants, changes, report, health
-- KEYS[1] prefix. ARGV: now, worker, epoch, incarnation, lease ms, number of models held, then field value pairs.
-- Returns {'ok' | 'resync' (the map lacks models: announce them again), refs of copies that it is to read again ...}
--   | {'fenced'} (register again) | {'taken'} (another process registered under this id: end).
local CHANGED_MOST = 128  -- the others come with the next heartbeat
local now, worker = clock(), ARGV[2]
local key = k('worker', worker)
local known = redis.call('HMGET', key, 'epoch', 'incarnation')
if known[1] ~= ARGV[3] then
  return {known[1] and known[2] ~= ARGV[4] and 'taken' or 'fenced'}
end
local stream = k('work', worker)
if redis.call('EXISTS', stream) == 0 or #redis.call('XINFO', 'GROUPS', stream) == 0 then
  return {'fenced'}
end
open_with_harmless_write()
redis.call('ZADD', WORKERS, now + tonumber(ARGV[5]), worker)
if #ARGV > 6 then redis.call('HSET', key, unpack(ARGV, 7)) end
note_health(worker, now)
local complete = redis.call('SCARD', k('holds', worker)) == tonumber(ARGV[6])
return {complete and 'ok' or 'resync', unpack(redis.call('SPOP', k('changed', worker), CHANGED_MOST))}
