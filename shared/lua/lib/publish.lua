-- publish: the one way a request reaches a terminal state. Callers must have won it by XDEL first.
-- item: id, reply (gateway or ''), flags ('k' has a record, 'p' outcome is kept for pollers).
-- Outcome of a failure is 'code message'. Replies go only to gateways that still live (NOMKSTREAM).
local REPLIES_MAX, RESULT_TTL = 100000, 3600000

local function reply(gateway, id, status, worker, cold, outcome)
  redis.call('XADD', k('replies', gateway), 'NOMKSTREAM', 'MAXLEN', '~', REPLIES_MAX, '*',
    'id', id, 'status', status, 'worker', worker, 'cold', cold, 'outcome', outcome)
end

local function publish(item, status, worker, outcome, now)
  local cold = string.find(item.flags, 'c', 1, true) and '1' or '0'
  if item.reply ~= '' then reply(item.reply, item.id, status, worker, cold, outcome) end
  if not string.find(item.flags, 'k', 1, true) then return end
  local key = k('request', item.id)
  redis.call('ZREM', DEADLINES, item.id)
  local kept = redis.call('HMGET', key, 'watchers', 'reply_to')
  for gateway in string.gmatch(kept[1] or '', '%S+') do
    if gateway ~= item.reply then reply(gateway, item.id, status, worker, cold, outcome) end
  end
  if not string.find(item.flags, 'p', 1, true) then
    redis.call('DEL', key)
    return
  end
  redis.call('HSET', key, 'status', status, 'worker', worker, 'cold', cold, 'outcome', outcome,
    'finished', now)
  redis.call('HDEL', key, 'stream', 'entry', 'watchers')
  redis.call('PEXPIRE', key, RESULT_TTL)
  if kept[2] and kept[2] ~= '' then redis.call('XADD', OUTBOX, '*', 'id', item.id) end
end

-- Take a request out of the stream where it waits or runs. True for the one caller that wins.
local function take(stream, entry)
  if redis.call('XDEL', stream, entry) == 0 then return false end
  if string.find(stream, P .. 'work:', 1, true) == 1 then
    redis.call('XACK', stream, 'w', entry)
    redis.call('HDEL', P .. 'begun:' .. string.sub(stream, #P + 6), entry)
  end
  return true
end
