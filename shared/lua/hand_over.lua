-- hand_over: end a stopping gateway; the requests of its waiting callers get records.
-- use: keys, constants, queued, report, outcomes, publish, sample, health, holders, model_facts, load_target, blame, cold_queue, order, breaker, bounds, copies, healthy_copy, placement
-- KEYS[1] prefix. ARGV: now, gateway, '1' in the last call (else ''), then per request: id, ref, deadline ms,
--   stream and entry where it was placed.
-- Returns per request 1 it can be polled from now on | 0 it has ended.
-- With a record the outcome is kept there, and still sent to the reply stream. In the last call, when all have records
-- or have ended, the stream is renamed: later outcomes go to the records alone, and the replies that the gateway has
-- not read yet can be read from `replies:<gateway>.unread`, also after this call was repeated.
local now, gateway, out = clock(), ARGV[2], {}
local replies, unread = k('replies', gateway), k('replies', gateway .. '.unread')
open_with_harmless_write()
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
if ARGV[3] == '' then return out end
if redis.call('EXISTS', replies) == 1 then redis.call('RENAME', replies, unread) end
redis.call('PEXPIRE', unread, REPLIES_TTL_MS)
redis.call('ZREM', HOUSEKEEPERS, gateway)
if redis.call('ZSCORE', GATEWAYS, gateway) then redis.call('ZADD', GATEWAYS, now, gateway) end
return out
