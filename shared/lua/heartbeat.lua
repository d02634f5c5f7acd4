-- heartbeat: renew a worker's lease and write its report.
-- use: keys, constants, changes, protocol_rows, report, sample, health
-- KEYS[1] prefix. ARGV: now, worker, epoch, incarnation, lease ms, number of models held, then field value pairs.
-- Returns {'ok' | 'resync' (the map lacks models: announce them again), refs of copies that it is to read again ...}
--   | {'fenced'} (register again) | {'taken'} (another process registered under this id: end).
local CHANGED_MOST = 128  -- the others come with the next heartbeat
local PATIENCE = 5  -- beats while the clock stands still
local now, _, offset, still = clock()
local worker = ARGV[2]
local key = k('worker', worker)
local known = redis.call('HMGET', key, 'epoch', 'incarnation', 'protocol')
if known[1] ~= ARGV[3] then
  return {known[1] and known[2] ~= ARGV[4] and 'taken' or 'fenced'}
end
local stream = k('work', worker)
if redis.call('EXISTS', stream) == 0 or #redis.call('XINFO', 'GROUPS', stream) == 0 then
  return {'fenced'}
end
open_with_harmless_write()
-- No gateway keeps the clock: none is there, or those that are belong to an earlier release, which knows only Redis's.
local function follow_alone()
  local passed, lease = redis_clock() - offset, tonumber(ARGV[5])
  if passed > now and offset == 0 then return redis.call('DEL', CLOCK) end
  if passed < now then passed, offset = now, redis_clock() - now end  -- time does not go back
  redis.call('SET', CLOCK, string.format('%.0f %.0f %.0f %.0f', passed, offset, passed + lease, lease))
end
if still then
  if redis.call('HINCRBY', key, 'clock_stood_still', 1) >= PATIENCE then follow_alone() end
elseif redis.call('HEXISTS', key, 'clock_stood_still') == 1 then
  redis.call('HDEL', key, 'clock_stood_still')
end
redis.call('ZADD', WORKERS, now + tonumber(ARGV[5]), worker)
note_protocol('worker ' .. worker, known[3], now, tonumber(ARGV[5]))
if #ARGV > 6 then
  redis.call('HSET', key, unpack(ARGV, 7))
  note_copies_at(worker, 7, now)
end
note_health(worker, now)
index_class(worker)
local complete = redis.call('SCARD', k('holds', worker)) == tonumber(ARGV[6])
return {complete and 'ok' or 'resync', unpack(redis.call('SPOP', k('changed', worker), CHANGED_MOST))}
