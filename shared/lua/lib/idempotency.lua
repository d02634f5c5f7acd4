-- idempotency: the same content under the same key is the same request, for a day.
-- item: id, key, fingerprint (of the content), reply_to, caller_id (the producer's own).

local function join(id, item)
  local reply_to = item.reply_to
  local r = redis.call('HMGET', k('request', id), 'stream', 'reply_to', 'status')
  if not r[3] then return 'gone', id end
  local listed = string.find(' ' .. (r[2] or '') .. ' ', ' ' .. reply_to .. ' ', 1, true)
  if reply_to ~= '' then redis.call('HSETNX', k('request', id), 'caller_id', item.caller_id) end
  if reply_to ~= '' and r[1] and not listed then
    redis.call('HSET', k('request', id), 'reply_to', (r[2] or '') .. ' ' .. reply_to)
  elseif reply_to ~= '' and not r[1] then
    redis.call('XADD', OUTBOX, '*', 'id', id, 'to', reply_to)
  end
  return 'joined', id
end

local function idem(item)
  local digest = redis.sha1hex(item.key)
  return k('idempotency', digest), digest
end

-- nil | 'joined' or 'gone', its id | 'mismatch' (other content under that key)
local function asked_before(item)
  local prior = redis.call('HMGET', (idem(item)), 'id', 'fingerprint')
  if prior[1] and prior[2] ~= item.fingerprint then return 'mismatch', '' end
  if prior[1] then return join(prior[1], item) end
  -- A place call whose answer was lost is repeated; its request may have ended and freed the key by then,
  -- and its outcome may have been dropped.
  local traces = redis.call('EXISTS', k('request', item.id), k('tombstone', item.id))
  if traces > 0 then return join(item.id, item) end
end

local function keep_key(item)
  local key, digest = idem(item)
  redis.call('HSET', key, 'id', item.id, 'fingerprint', item.fingerprint)
  redis.call('PEXPIRE', key, KEY_TTL_MS)
  redis.call('HSET', k('request', item.id), 'idempotency', digest)
end
