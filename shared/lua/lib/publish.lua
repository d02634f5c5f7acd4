-- publish: the one way a request reaches a terminal state. The caller must have deleted its entry by XDEL first.
-- Outcome of a failure is 'code message'. Replies go only to live gateways (NOMKSTREAM).
-- item: id, reply (gateway or ''), flags, model, maybe cause (in full, for the log).

-- Outcomes that may differ next time: their idempotency key is free again.
local PASSING = {expired = true, cancelled = true, overloaded = true, unavailable = true,
  quarantined = true, changed_meanwhile = true, store_unavailable = true, disk_full = true}

local function reply(gateway, id, status, worker, cold, outcome)
  return redis.call('XADD', k('replies', gateway), 'NOMKSTREAM', 'MAXLEN', '~', text_of(REPLIES_MAX), '*',
    'id', id, 'status', status, 'worker', worker, 'cold', cold, 'outcome', outcome)
end

-- A success of a model that has crashed workers lately: so many outweigh one crash (crashes).
local SUCCESSES = 20
local function count_success(ref, worker, now)
  local key = k('breaker', ref)
  local r = redis.call('HMGET', key, 'score', 'by')
  if not r[1] then return end
  local count = redis.call('HINCRBY', key, 'successes', 1)
  if count >= SUCCESSES * tonumber(r[1]) then return redis.call('DEL', key) end
  local crashed = string.find(' ' .. r[2] .. ' ', ' ' .. worker .. ' ', 1, true)
  if not crashed then redis.call('HSET', key, 'ok_at', now) end
end

local function publish(item, status, worker, outcome, now)
  local cold = has_flag(item.flags, COLD) and '1' or '0'
  local watched = has_flag(item.flags, WATCHED) and status == 'succeeded' and (item.model or '') ~= ''
  if watched then count_success(item.model, worker, now) end
  local sent = item.reply == '' or reply(item.reply, item.id, status, worker, cold, outcome)
  -- A gateway that stops has no stream any more, and may have written a record (hand_over).
  local record = not sent or has_flag(item.flags, KEEP)
  if not record then
    if status ~= 'succeeded' then record_failure(item, status, worker, cold, outcome, now) end
    return
  end
  local key = k('request', item.id)
  redis.call('ZREM', DEADLINES, item.id)
  local kept = redis.call('HMGET', key, 'flags', 'watchers', 'reply_to', 'model', 'idempotency')
  local flags = kept[1] or ''
  local polled = has_flag(flags, POLL)
  if not sent and not polled then reply(item.reply .. UNREAD, item.id, status, worker, cold, outcome) end
  if polled and string.byte(outcome) == SHARED_MEMORY then -- its gateway has handed it over
    status, outcome = 'failed', 'unavailable its outcome lay in the memory of a gateway that stopped'
  end
  if has_flag(flags, PROBE) and status == 'succeeded' then
    redis.call('DEL', k('breaker', kept[4]))
  elseif has_flag(flags, PROBE) then -- it proved nothing: the next request may probe
    redis.call('HDEL', k('breaker', kept[4]), 'probe_until')
  end
  item.model = kept[4] or item.model
  record_failure(item, status, worker, cold, outcome, now, polled)
  for gateway in string.gmatch(kept[2] or '', '%S+') do
    if gateway ~= item.reply then reply(gateway, item.id, status, worker, cold, outcome) end
  end
  if not polled then return redis.call('DEL', key) end
  if kept[5] and status ~= 'succeeded' and PASSING[string.match(outcome, '^%S+')] then
    redis.call('DEL', k('idempotency', kept[5]))
  end
  redis.call('HSET', key, 'status', status, 'worker', worker, 'cold', cold, 'outcome', outcome,
    'finished', now)
  redis.call('HDEL', key, 'stream', 'entry', 'watchers')
  redis.call('PEXPIRE', key, RESULT_TTL_MS)
  count_kept('outcomes', item.id, #outcome + RECORD_BYTES, now)
  redis.call('SET', k('tombstone', item.id), '1', 'PX', 2 * RESULT_TTL_MS)
  for to in string.gmatch(kept[3] or '', '%S+') do redis.call('XADD', OUTBOX, '*', 'id', item.id, 'to', to) end
end
