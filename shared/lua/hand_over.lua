-- hand_over: end a stopping gateway; the requests of its waiting callers get records.
-- use: keys, constants, there, came_back, queued, report, outcomes, publish, sample, health, holders, model_facts, load_target, blame, cold_queue, order, breaker, bounds, copies, healthy_copy, placement
-- KEYS[1] prefix. ARGV: now, gateway, '1' in the last call (else ''), then per request: id, ref, deadline ms,
--   stream and entry where it was placed, '1' if over an earlier connection (came_back), else ''.
-- Returns per request 1 it can be polled from now on | 0 it has ended.
-- The first call renames the reply stream: from then on the outcome of what has a record is kept there, and those of
-- the others, which a later call will hand over or find ended, are added to `replies:<gateway>.unread` (publish). So the
-- gateway may die between two calls. It reads that stream in the end, also after a call was repeated.
local now, gateway, out = clock(), ARGV[2], {}
local replies, unread = k('replies', gateway), k('replies', gateway .. UNREAD)
open_with_harmless_write()
if redis.call('EXISTS', replies) == 1 then redis.call('RENAME', replies, unread) end
redis.call('PEXPIRE', unread, REPLIES_TTL_MS)
for i = 4, #ARGV, 6 do
  local id, stream, entry = ARGV[i], ARGV[i + 3], ARGV[i + 4]
  local key = k('request', id)
  local flags = redis.call('HGET', key, 'flags')
  if flags then
    if not has_flag(flags, POLL) then redis.call('HSET', key, 'flags', flags .. POLL) end
    out[#out + 1] = 1
  elseif stream ~= '' and is_there(stream, entry) and not (ARGV[i + 5] == '1' and is_another(stream, entry, id)) then
    local item = {id = id, model = ARGV[i + 1], deadline = tonumber(ARGV[i + 2]), flags = KEEP .. POLL, reply = ''}
    record(item, 'placed', stream, entry, now)
    out[#out + 1] = 1
  else
    out[#out + 1] = 0
  end
end
if ARGV[3] == '' then return out end
redis.call('ZREM', HOUSEKEEPERS, gateway)
if redis.call('ZSCORE', GATEWAYS, gateway) then redis.call('ZADD', GATEWAYS, now, gateway) end
return out
