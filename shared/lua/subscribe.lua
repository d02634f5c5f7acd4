-- subscribe: read a request's record and, while it is not terminal, have its outcome sent to a gateway.
-- use: keys, constants, outcomes
-- KEYS[1] prefix. ARGV: now, id, gateway ('' only reads).
-- Returns the record as a flat list ([] if unknown, {'gone', '1'} if it ended and is no longer kept); of
-- one that ended without a record {'ended', text}.
local key = k('request', ARGV[2])
local flat = redis.call('HGETALL', key)
if #flat == 0 then
  if redis.call('EXISTS', k('tombstone', ARGV[2])) == 1 then return {'gone', '1'} end
  local text = find_outcome(ARGV[2])
  return text and {'ended', text} or {}
end
local r = as_table(flat)
if r.stream and ARGV[3] ~= '' then
  local watchers = r.watchers or ''
  if not string.find(' ' .. watchers .. ' ', ' ' .. ARGV[3] .. ' ', 1, true) then
    open_with_harmless_write()
    redis.call('HSET', key, 'watchers', watchers .. ' ' .. ARGV[3])
  end
end
return flat
