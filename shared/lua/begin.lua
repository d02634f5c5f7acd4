-- begin: count the start of a batch, and refuse requests that must not start any more.
-- use: keys, constants
-- KEYS[1] prefix. ARGV: now, worker, epoch, number of the batch, then per item in stream order: entry,
--   id, deadline ms, flags.
-- Returns {now, per item 'run' | 'expired' | 'gone' (cancelled or moved) | 'cancelled' (it is withdrawn: end it)}, or
-- {now, 'fenced'} if the epoch is not current.
local now, worker = clock(), ARGV[2]
if redis.call('HGET', k('worker', worker), 'epoch') ~= ARGV[3] then return {now, 'fenced'} end
local stream, key, out, started = k('work', worker), k('started', worker), {now}, {}
open_with_harmless_write()
local pending = {}
for _, p in ipairs(redis.call('XPENDING', stream, ARGV[3], ARGV[5], ARGV[#ARGV - 3], 1000000)) do
  pending[p[1]] = true
end
local are_withdrawn = redis.call('EXISTS', WITHDRAWN) == 1  -- as a rule none is
for i = 5, #ARGV, 4 do
  if not pending[ARGV[i]] then
    out[#out + 1] = 'gone'
  elseif tonumber(ARGV[i + 2]) <= now then
    out[#out + 1] = 'expired'
  elseif are_withdrawn and redis.call('ZSCORE', WITHDRAWN, ARGV[i + 1]) then
    out[#out + 1] = 'cancelled'
  else
    started[#started + 1] = ARGV[i]
    started[#started + 1] = ARGV[4]
    if has_flag(ARGV[i + 3], KEEP) then
      redis.call('HSET', k('request', ARGV[i + 1]), 'status', 'running', 'worker', worker)
    end
    out[#out + 1] = 'run'
  end
end
if #started > 0 then redis.call('HSET', key, unpack(started)) end
return out
