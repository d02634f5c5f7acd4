-- hand_over: end a stopping gateway; the requests of its waiting callers get records.
-- use: keys, constants, queued, report, outcomes, publish, holders, load_target, order, breaker, bounds, copies, placement
-- KEYS[1] prefix. ARGV: now, gateway, id of the last reply it has read, then per request: id, ref,
--   deadline ms, stream and entry where it was placed.
-- Returns {per request 1 it can be polled from now on | 0 it has ended, replies not read yet (fields)}.
-- The reply stream is deleted in the same step: later outcomes are kept in the records.
local now, gateway, out, unread = clock(), ARGV[2], {}, {}
local replies = k('replies', gateway)
open_with_harmless_write()
for _, e in ipairs(redis.call('XRANGE', replies, '(' .. ARGV[3], '+')) do unread[#unread + 1] = e[2] end
for i = 4, #ARGV, 5 do
  local id, stream, entry = ARGV[i], ARGV[i + 3], ARGV[i + 4]
  local key = k('request', id)
  local flags = redis.call('HGET', key, 'flags')
  if flags then
    if not has_flag(flags, POLL) then redis.call('HSET', key, 'flags', flags .. POLL) end
    out[#out + 1] = 1
  elseif stream ~= '' and #redis.call('XRANGE', stream, entry, entry) == 1 then
    local item = {id = id, model = ARGV[i + 1], deadline = tonumber(ARGV[i + 2]), flags = KEEP .. POLL, reply = ''}
    record(item, 'placed', stream, entry, now)
    out[#out + 1] = 1
  else
    out[#out + 1] = 0
  end
end
redis.call('DEL', replies)
if redis.call('ZSCORE', GATEWAYS, gateway) then redis.call('ZADD', GATEWAYS, now, gateway) end
return {out, unread}
