-- keep_clock: follow Redis's clock for the cell, or say what a leap of it was. Any gateway, twice a second.
-- use: keys, constants
-- KEYS[1] prefix. ARGV: now, lease ms, then of a gateway that has measured: the mark, and by how many ms Redis's clock
--   leapt (0: it did not, Redis or all gateways were away).
-- Returns {Redis's clock, mark}; mark: '' the clock is followed | what to answer with, when it is known what
--   happened. Of several gateways the first is believed.
local LEASES_AT_ONCE = 1000
local now, lease, said = redis_clock(), tonumber(ARGV[2]), ARGV[3] or ''
open_with_harmless_write()
local note = {string.match(redis.call('GET', CLOCK) or '', '^(%d+) (-?%d+) (%d+) (%d+)$')}
local seen, offset, grace = tonumber(note[1] or 0), tonumber(note[2] or 0), tonumber(note[3] or 0)

-- In a grace no process is dead: leases that end in it last until its end. A worker that is being released stays so.
local function extend_leases(zset)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', zset, '-inf', '(' .. grace, 'LIMIT', 0, LEASES_AT_ONCE)) do
    local released = zset == WORKERS and redis.call('EXISTS', k('worker', id)) == 0
    if not released then redis.call('ZADD', zset, grace, id) end
  end
end

-- Lifetimes of keys run on Redis's own clock: what a clock that went back would keep for too long.
local function forget_passing()
  redis.call('DEL', HEADROOM, k('kept_bytes', 'budget'))
  for _, ref in ipairs(redis.call('ZRANGE', REFUSED_MODELS, 0, LEASES_AT_ONCE)) do
    redis.call('DEL', k('unloadable', ref))
  end
end

local gap = now - offset - seen
if not note[1] then
  seen, grace = now, now + lease
elseif math.abs(gap) > FAR_MS then
  local mark = string.format('%.0f/%.0f', seen, offset)
  if said ~= mark then return {now, mark} end
  local leap = tonumber(ARGV[4])
  offset = offset + leap
  if leap < 0 then forget_passing() end
  seen = math.max(seen, now - offset)
  grace = seen + lease  -- also of a short gap: leases renewed in it count from where the clock stood
else
  seen = math.max(seen, now - offset)
end
redis.call('SET', CLOCK, string.format('%.0f %.0f %.0f %.0f', seen, offset, grace, lease))
if grace > seen then
  extend_leases(WORKERS)
  extend_leases(GATEWAYS)
end
return {now, ''}
