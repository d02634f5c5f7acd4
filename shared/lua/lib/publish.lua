-- publish: the one way a request reaches a terminal state. Callers must have won it by XDEL first.
-- Outcome of a failure is 'code message'. Replies go only to gateways that still live (NOMKSTREAM).
-- item: id, reply (gateway or ''), flags ('k' has a record, 'c' waited for a load), model, maybe cause
-- (for the log). Flags of the record: 'p' it is kept for pollers, 'h' its success closes the breaker.
local REPLIES_MAX, RESULT_TTL, IN_SHARED_MEMORY = 100000, 3600000, 193

-- Ends that may be different next time: their idempotency key is free again.
local PASSING = {expired = true, cancelled = true, overloaded = true, unavailable = true,
  quarantined = true, changed_meanwhile = true, store_unavailable = true, disk_full = true}

local function reply(gateway, id, status, worker, cold, outcome)
  return redis.call('XADD', k('replies', gateway), 'NOMKSTREAM', 'MAXLEN', '~', REPLIES_MAX, '*',
    'id', id, 'status', status, 'worker', worker, 'cold', cold, 'outcome', outcome)
end

local function publish(item, status, worker, outcome, now)
  local cold = string.find(item.flags, 'c', 1, true) and '1' or '0'
  local told = item.reply == '' or reply(item.reply, item.id, status, worker, cold, outcome)
  -- A gateway that stopped may have made a record for what had none (hand_over).
  local record = not told or string.find(item.flags, 'k', 1, true)
  if not record then return record_failure(item, status, worker, cold, outcome, now) end
  local key = k('request', item.id)
  redis.call('ZREM', DEADLINES, item.id)
  local kept = redis.call('HMGET', key, 'flags', 'watchers', 'reply_to', 'model', 'idempotency')
  local flags = kept[1] or ''
  local polled = string.find(flags, 'p', 1, true)
  if polled and string.byte(outcome) == IN_SHARED_MEMORY then -- its gateway has handed it over
    status, outcome = 'failed', 'unavailable its outcome lay in the memory of a gateway that stopped'
  end
  if string.find(flags, 'h', 1, true) and status == 'succeeded' then
    redis.call('DEL', k('breaker', kept[4]))
  elseif string.find(flags, 'h', 1, true) then -- it proved nothing: the next one may try
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
  redis.call('PEXPIRE', key, RESULT_TTL)
  redis.call('SET', k('tombstone', item.id), '1', 'PX', 2 * RESULT_TTL)
  for to in string.gmatch(kept[3] or '', '%S+') do redis.call('XADD', OUTBOX, '*', 'id', item.id, 'to', to) end
end

-- Take a request out of the stream where it waits or runs. True for the one caller that wins.
local function take(stream, entry)
  if redis.call('XDEL', stream, entry) == 0 then return false end
  if string.find(stream, P .. 'work:', 1, true) == 1 then
    local worker = string.sub(stream, #P + 6)
    local epoch = redis.call('HGET', k('worker', worker), 'epoch')
    if epoch then redis.call('XACK', stream, epoch, entry) end
    redis.call('HDEL', k('started', worker), entry)
  end
  return true
end

-- What is taken from a stream to be placed again. Its record may know more than its entry (hand_over).
-- nil if it is no request: whoever wrote it there was not place, and it ends as a dead letter.
local function moving(flat, stream, entry)
  local item = as_table(flat)
  if not (item.id and item.model and item.body and item.flags and item.reply
    and tonumber(item.attempts) and tonumber(item.deadline)) then
    redis.call('XDEL', stream, entry)
    redis.call('XADD', DEAD_LETTERS, 'MAXLEN', 1000, '*', 'kind', 'entry', 'entry', entry, 'cause',
      'invalid no request')
    return nil
  end
  item.attempts, item.deadline = tonumber(item.attempts), tonumber(item.deadline)
  item.flags = redis.call('HGET', k('request', item.id), 'flags') or item.flags
  return item
end
