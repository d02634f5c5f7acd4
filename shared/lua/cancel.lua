-- cancel: end requests, waiting or running, as cancelled; one whose deadline has passed ends as expired.
-- use: keys, constants, queued, came_back, report, outcomes, deadline, publish, entries, sample, health, holders, model_facts, load_target, blame, cold_queue, order
-- KEYS[1] prefix. ARGV: now, then per item: id, stream and entry (for a request without a record, else ''),
--   its ref, '1' if its deadline has passed and its caller gets that outcome, else '', '1' if it was placed over an
--   earlier connection (came_back), else '', and how many ms it may live if it is unknown whether it is placed, else ''.
-- What is not found then is noted, and `begin` does not let it run.
-- Returns per item 'cancelled' | of one that is late its outcome, 'expired ...' | 'unknown' | 'gone' (ended; no
--   longer kept) | the terminal status it already has: also 'succeeded' | 'failed'.
local MOST_WITHDRAWN = 10000
local now, out, parked = clock(), {}, P .. 'parked:'

local function withdraw(id, life)
  redis.call('ZREMRANGEBYSCORE', WITHDRAWN, '-inf', now)
  redis.call('ZADD', WITHDRAWN, now + life, id)
  redis.call('ZREMRANGEBYRANK', WITHDRAWN, 0, -MOST_WITHDRAWN - 1)
  redis.call('PEXPIRE', WITHDRAWN, math.max(life, redis.call('PTTL', WITHDRAWN)))
end

local function cancel(id, stream, entry, ref, late, looks, life)
  local r = redis.call('HMGET', k('request', id), 'status', 'stream', 'entry', 'flags', 'reply', 'model')
  if r[1] and not r[2] then return r[1] end
  local is_lost = looks and not r[2] and is_another(stream, entry, id)
  stream, entry, ref = r[2] or stream, r[3] or entry, r[6] or ref
  if stream == '' or is_lost or not take_entry(stream, entry, ref) then
    local ended = find_outcome(id)
    if ended then return string.match(ended, '^%S+') end
    if redis.call('EXISTS', k('tombstone', id)) == 1 then return 'gone' end
    if life then withdraw(id, life) end
    return 'unknown'
  end
  local status, outcome, worker = 'cancelled', 'cancelled the caller cancelled the request', ''
  if late then
    status = 'expired'
    outcome, worker = expired_outcome(ref, stream, now)
  end
  publish({id = id, reply = r[5] or '', flags = r[4] or '', model = ref}, status, worker, outcome, now)
  if string.find(stream, parked, 1, true) == 1 then cancel_order(string.sub(stream, #parked + 1)) end
  return status == 'expired' and outcome or status
end

for i = 2, #ARGV, 7 do
  out[#out + 1] = cancel(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4] == '1', ARGV[i + 5] == '1',
    tonumber(ARGV[i + 6]))
end
return out
