-- place: accept requests, each onto a holder's work stream or into its model's parked requests.
-- use: keys, outcomes, publish, holders, load_target, order, breaker, bounds, copies, placement, idempotency
-- KEYS[1] prefix. ARGV: now, limit per work stream, limit per parked stream, limit of pending
--   records, then per item: id, ref, timeout ms, reply gateway, flags, ingress entry, reply_to,
--   caller's own id, idempotency key, fingerprint of what is asked, body.
-- Returns per item {status, detail, entry, deadline, ms to wait}; detail: the worker, an id, a cause, or
--   the limit that is reached (work, parked or pending, as the fields of Limits); status placed | parked
--   | joined (an earlier request of that key, its id) | mismatch (another payload under that key) |
--   gone (its outcome is no longer kept) | full | memory | unloadable | quarantined | duplicate |
--   late (a stream entry whose deadline has passed). An ingress entry is deleted in the same step as
--   its request is accepted; its deadline counts from when it was written.
local FIELDS, OVERHEAD = 11, 512
local now = clock()
local limits = {work = tonumber(ARGV[2]), parked = tonumber(ARGV[3]),
  records = tonumber(ARGV[4]) - redis.call('ZCARD', DEADLINES)}
local out, known, bytes = {}, {[''] = true}, 0
for i = 5, #ARGV, FIELDS do bytes = bytes + #ARGV[i + 10] + OVERHEAD end
local fits = memory_fits(bytes)

local function ensure_replies(gateway)
  if known[gateway] then return end
  known[gateway] = true
  local replies = k('replies', gateway)  -- a FLUSHALL takes it; a reply is not to be lost too
  if redis.call('EXISTS', replies) == 1 then return end
  redis.call('XADD', replies, '*', 'id', '')
  redis.call('PEXPIRE', replies, 60000)
end

local function accept(item)
  if item.ingress ~= '' and #redis.call('XRANGE', INGRESS, item.ingress, item.ingress) == 0 then
    return 'duplicate', ''
  end
  if item.deadline <= now then return 'late', '' end
  local earlier, id = asked_before(item)
  if earlier then return earlier, id end
  if not fits then return 'memory', '', '', until_half(redis.call('ZCARD', DEADLINES), rate_of_cell()) end
  local status, where, entry, wait = place_item(item, now, limits)
  if status ~= 'placed' and status ~= 'parked' then return status, where, entry, wait end
  keep_key(item)
  if item.reply_to ~= '' then
    redis.call('HSET', k('request', item.id), 'reply_to', item.reply_to, 'caller_id', item.caller)
  end
  return status, where, entry
end

for i = 5, #ARGV, FIELDS do
  local item = {id = ARGV[i], model = ARGV[i + 1], reply = ARGV[i + 3], flags = ARGV[i + 4],
    ingress = ARGV[i + 5], reply_to = ARGV[i + 6], caller = ARGV[i + 7], key = ARGV[i + 8],
    fingerprint = ARGV[i + 9], body = ARGV[i + 10], attempts = 0}
  local written = item.ingress ~= '' and tonumber(string.match(item.ingress, '^%d+')) or now
  item.deadline = math.min(written, now) + tonumber(ARGV[i + 2])
  ensure_replies(item.reply)
  local status, where, entry, wait = accept(item)
  if item.ingress ~= '' and (status == 'placed' or status == 'parked' or status == 'joined') then
    redis.call('XDEL', INGRESS, item.ingress)
    redis.call('XACK', INGRESS, 'g', item.ingress)
  end
  out[#out + 1] = {status, where or '', entry or '', tostring(item.deadline), tostring(wait or 0)}
end
return out
