-- retire: stop placing requests for a model on this worker. It drains what was placed, then frees.
-- use: keys
-- KEYS[1] prefix. ARGV: now, worker, epoch, ref.
-- Returns the last entry id of the work stream: what it must drain up to ('' if fenced).
local worker = ARGV[2]
if redis.call('HGET', k('worker', worker), 'epoch') ~= ARGV[3] then return '' end
redis.call('HDEL', k('holders', ARGV[4]), worker)
redis.call('SREM', k('holds', worker), ARGV[4])
local last = redis.call('XREVRANGE', k('work', worker), '+', '-', 'COUNT', 1)
return last[1] and last[1][1] or '0-0'
