-- place: accept requests, each onto a holder's work stream or into its model's parked requests.
-- use: keys, order, placement
-- KEYS[1] prefix. ARGV: now, limit per work stream, limit per parked stream, limit of pending
--   records, then per item: id, ref, timeout ms, reply gateway, flags, ingress entry, reply_to,
--   caller's own id, body.
-- Returns per item {status, worker or reason, entry, deadline}; status placed | parked | full |
--   unloadable | duplicate. An ingress entry is deleted in the same step as its request is accepted.
local now = clock()
local limits = {work = tonumber(ARGV[2]), parked = tonumber(ARGV[3]),
  records = tonumber(ARGV[4]) - redis.call('ZCARD', DEADLINES)}
local out, known = {}, {[''] = true}
for i = 5, #ARGV, 9 do
  local item = {id = ARGV[i], model = ARGV[i + 1], deadline = now + tonumber(ARGV[i + 2]),
    reply = ARGV[i + 3], flags = ARGV[i + 4], attempts = 0, body = ARGV[i + 8]}
  local ingress, reply_to = ARGV[i + 5], ARGV[i + 6]
  if not known[item.reply] then
    known[item.reply] = true
    local replies = k('replies', item.reply)  -- a FLUSHALL takes it; a reply is not to be lost too
    if redis.call('EXISTS', replies) == 0 then
      redis.call('XADD', replies, '*', 'id', '')
      redis.call('PEXPIRE', replies, 10000)
    end
  end
  local status, where, entry
  if ingress ~= '' and #redis.call('XRANGE', INGRESS, ingress, ingress) == 0 then
    status, where = 'duplicate', ''
  else
    status, where, entry = place_item(item, now, limits)
  end
  if status == 'placed' or status == 'parked' then
    if reply_to ~= '' then
      redis.call('HSET', k('request', item.id), 'reply_to', reply_to, 'caller_id', ARGV[i + 7])
    end
    if ingress ~= '' then
      redis.call('XDEL', INGRESS, ingress)
      redis.call('XACK', INGRESS, 'g', ingress)
    end
  end
  out[#out + 1] = {status, where or '', entry or '', tostring(item.deadline)}
end
return out
