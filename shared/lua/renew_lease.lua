-- renew_lease: renew the lease of a worker whose report has not changed, if there is nothing else to be done or said.
-- use: keys, protocol_rows
-- KEYS[1] prefix. ARGV: now, worker, epoch, lease ms, number of models held.
-- Returns 1 | 0 nothing was done, and a `heartbeat` is to find out why: another epoch, a lost stream or map, copies to read
--   again, a worker that was not healthy, a clock that stands still.
local now, _, _, still = clock()
local worker = ARGV[2]
if still then return 0 end
local known = redis.call('HMGET', k('worker', worker), 'epoch', 'clock_stood_still', 'protocol')
if known[1] ~= ARGV[3] or known[2] then return 0 end
local groups = redis.pcall('XINFO', 'GROUPS', k('work', worker))
if groups.err or #groups == 0 then return 0 end
if redis.call('SCARD', k('holds', worker)) ~= tonumber(ARGV[5]) then return 0 end
if redis.call('EXISTS', k('changed', worker), k('crashed', worker), UNHEALTHY) > 0 then
  if redis.call('EXISTS', k('changed', worker), k('crashed', worker)) > 0 then return 0 end
  if redis.call('HEXISTS', UNHEALTHY, worker) == 1 then return 0 end
end
open_with_harmless_write()
redis.call('ZADD', WORKERS, now + tonumber(ARGV[4]), worker)
note_protocol('worker ' .. worker, known[3], now, tonumber(ARGV[4]))
return 1
