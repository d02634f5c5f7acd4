-- lost: a record names an entry until its request ends. If the entry is missing, Redis has lost its stream (a DEL,
-- an eviction), and with it the body: it can run nowhere. Returns whether the request was ended for that.
local function end_if_lost(id, now)
  local r = redis.call('HMGET', k('request', id), 'stream', 'entry', 'flags', 'reply', 'model')
  if not r[1] then
    redis.call('ZREM', DEADLINES, id)  -- the record is lost
  elseif #redis.call('XRANGE', r[1], r[2], r[2]) == 0 then
    publish({id = id, flags = r[3], reply = r[4], model = r[5]}, 'failed', '',
      'unavailable Redis has lost the entry of this request; send it again', now)
    return true
  elseif r[1] == k('parked', r[5]) then
    redis.call('SADD', PARKED, r[5])  -- the index can be lost too
  end
  return false
end
