-- lost: a record names an entry until its request ends. If the entry is missing, Redis has lost its stream (a DEL,
-- an eviction), and with it the body: it can run nowhere. Returns whether the request was ended for that.
local end_if_lost
do
  -- Three commands that Redis writes to its log are dearer than reading a small payload.
  local function has(stream, entry, bytes)
    if bytes then return is_there(stream, entry) end
    return #redis.call('XRANGE', stream, entry, entry) > 0
  end

  function end_if_lost(id, now)
    local r = redis.call('HMGET', k('request', id), 'stream', 'entry', 'flags', 'reply', 'model', 'bytes')
    if not r[1] then
      redis.call('ZREM', DEADLINES, id)  -- the record is lost
    elseif not has(r[1], r[2], r[6]) then
      publish({id = id, flags = r[3], reply = r[4], model = r[5]}, 'failed', '',
        'unavailable Redis has lost the entry of this request; send it again', now)
      return true
    elseif r[1] == k('parked', r[5]) then
      redis.call('SADD', PARKED, r[5])  -- the index can be lost too
    end
    return false
  end
end
