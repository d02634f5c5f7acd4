-- cancel: end a request, waiting or running, as cancelled; one whose deadline has passed ends as expired.
-- use: keys, constants, report, outcomes, deadline, publish, entries, health, holders, load_target, blame, order
-- KEYS[1] prefix. ARGV: now, id, stream and entry (for a request without a record, else ''), and the ref
--   if its deadline has passed and its caller gets that outcome, else ''.
-- Returns 'cancelled' | of one that is late its outcome, 'expired ...' | 'unknown' | 'gone' (ended; no longer
--   kept) | the terminal status it already has: also 'succeeded' | 'failed'.
local now, id = clock(), ARGV[2]
local r = redis.call('HMGET', k('request', id), 'status', 'stream', 'entry', 'flags', 'reply')
local stream, entry = r[2] or ARGV[3], r[3] or ARGV[4]
if r[1] and not r[2] then return r[1] end
if stream == '' or not take_entry(stream, entry) then
  local ended = find_outcome(id)
  if ended then return string.match(ended, '^%S+') end
  return redis.call('EXISTS', k('tombstone', id)) == 1 and 'gone' or 'unknown'
end
local status, outcome, worker = 'cancelled', 'cancelled the caller cancelled the request', ''
if ARGV[5] ~= '' then
  status = 'expired'
  outcome, worker = expired_outcome(ARGV[5], stream, now)
end
publish({id = id, reply = r[5] or '', flags = r[4] or '', model = ARGV[5]}, status, worker, outcome, now)
local parked = P .. 'parked:'
if string.find(stream, parked, 1, true) == 1 then cancel_order(string.sub(stream, #parked + 1)) end
return status == 'expired' and outcome or status
