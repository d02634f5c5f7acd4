-- place: accept requests; each goes to a holder's work stream or to the parked requests of its model.
-- use: keys, constants, queued, report, sample, health, holders, model_facts, load_target, blame, cold_queue, order, breaker, bounds, copies, healthy_copy, placement, idempotency
-- rarely: park, unless_sick, crashed_holders, as_probe, crashed_workers, other_holder, queued_of, until_half, rate_of_cell, unloadable, one_has_time, fastest_loader, excluding, order_load, asked_before, keep_key
-- KEYS[1] prefix. ARGV: now, limit per work stream, limit per parked stream, limit of pending
--   records, number of fields, their names (those of `Placing` in shared/gateway_scripts.py), then per
--   item the values in that order.
-- Returns per item {status, detail, entry, deadline, ms to wait}; detail: the worker, an id, a cause, or
--   the limit that is reached (work, parked or pending, as the fields of Limits); status 'placed' |
--   'parked' | 'joined' (an earlier request of that key, its id) | 'mismatch' (another payload under that
--   key) | 'gone' (its outcome is no longer kept) | 'full' | 'memory' | 'unloadable' | 'quarantined' |
--   'duplicate' | 'late' (a stream entry whose deadline has passed). An ingress entry is deleted in the same step as
--   its request is accepted; its deadline counts from the time in its entry id, or later where that is not certain.
local OVERHEAD, NAMES = 512, 5
local now, latest, offset = clock()
local limits = {work = tonumber(ARGV[2]), parked = tonumber(ARGV[3]), pending = tonumber(ARGV[4])}
local out, known, bytes = {}, {[''] = true}, 0
local count = tonumber(ARGV[NAMES])
local first, at = NAMES + count + 1, {}  -- at: the position of each field in a row
for f = 1, count do at[ARGV[NAMES + f]] = f - 1 end
for i = first, #ARGV, count do bytes = bytes + #ARGV[i + at.body] + OVERHEAD end
local fits = memory_fits(bytes)

local function ensure_replies(gateway)
  if known[gateway] then return end
  known[gateway] = true
  local replies = k('replies', gateway)  -- a FLUSHALL deletes it; the reply must not be lost too
  if redis.call('EXISTS', replies, replies .. UNREAD) > 0 then return end
  redis.call('XADD', replies, '*', 'id', '')
  redis.call('PEXPIRE', replies, REPLIES_TTL_MS)
end

local function accept(item)
  if item.ingress ~= '' and #redis.call('XRANGE', INGRESS, item.ingress, item.ingress) == 0 then
    return 'duplicate', ''
  end
  if item.deadline <= now then return 'late', '' end
  if item.key ~= '' then
    local earlier, id = asked_before(item)
    if earlier then return earlier, id end
  end
  if not fits then return 'memory', '', '', until_half(redis.call('ZCARD', DEADLINES), rate_of_cell(now)) end
  local status, where, entry, wait = place_item(item, now, limits)
  if status ~= 'placed' and status ~= 'parked' then return status, where, entry, wait end
  if item.key ~= '' then keep_key(item) end
  if item.reply_to ~= '' then
    redis.call('HSET', k('request', item.id), 'reply_to', item.reply_to, 'caller_id', item.caller_id)
  end
  return status, where, entry
end

count_together()
for i = first, #ARGV, count do
  local item = {id = ARGV[i + at.id], model = ARGV[i + at.ref], reply = ARGV[i + at.reply],
    flags = ARGV[i + at.flags], ingress = ARGV[i + at.ingress], reply_to = ARGV[i + at.reply_to],
    caller_id = ARGV[i + at.caller_id], key = ARGV[i + at.key],
    fingerprint = ARGV[i + at.fingerprint], body = ARGV[i + at.body], attempts = 0}
  -- Redis gave the id by its own clock: before a leap back, or after it.
  local written = item.ingress ~= '' and string.match(item.ingress, '^%d+') - math.min(offset, 0) or latest
  item.deadline = math.min(written, latest) + tonumber(ARGV[i + at.timeout_ms])
  ensure_replies(item.reply)
  local status, where, entry, wait = accept(item)
  if item.ingress ~= '' and (status == 'placed' or status == 'parked' or status == 'joined') then
    redis.call('XDEL', INGRESS, item.ingress)
    redis.call('XACK', INGRESS, DOOR_GROUP, item.ingress)
  end
  out[#out + 1] = {status, where or '', entry or '', text_of(item.deadline), text_of(wait or 0)}
end
write_counted()
return out
