-- replay: put a dead letter back as a new request, or back into the stream door.
-- use: keys, constants, queued, report, sample, health, holders, model_facts, load_target, blame, cold_queue, order, breaker, bounds, copies, healthy_copy, placement
-- KEYS[1] prefix. ARGV: now, dead entry, id of the new request, timeout ms, limit per work stream, limit
--   per parked stream, limit of pending records.
-- Returns {status, where, entry, deadline, ms to wait}; status as in place: 'placed' | 'parked' | 'full' |
--   'unloadable' | 'quarantined', or 'ingress' (put back into the door) | 'unknown' (no such letter) |
--   'unkept' (its payload was in shared memory, or is not kept). The letter is kept unless it went.
local now, latest = clock()
local entry = ARGV[2]
local found = redis.call('XRANGE', DEAD_LETTERS, entry, entry)[1]
if not found then return {'unknown', '', '', '0', '0'} end
local letter, fields, carried = as_table(found[2]), {}, {}
for i = 1, #found[2], 2 do
  if string.sub(found[2][i], 1, #CARRIED) == CARRIED then
    carried[#carried + 1] = string.sub(found[2][i], #CARRIED + 1)
    carried[#carried + 1] = found[2][i + 1]
  end
end
if letter.kind == 'entry' then
  for name in pairs(DOOR_FIELDS) do
    if letter[name] then
      fields[#fields + 1] = name
      fields[#fields + 1] = letter[name]
    end
  end
  if not letter.body then return {'unkept', '', '', '0', '0'} end -- it was too large to be kept
  for _, part in ipairs(carried) do fields[#fields + 1] = part end
  local back = redis.call('XADD', INGRESS, '*', unpack(fields))
  redis.call('XDEL', DEAD_LETTERS, entry)
  return {'ingress', '', back, '0', '0'}
end
if not letter.body or string.byte(letter.body) == SHARED_MEMORY then return {'unkept', '', '', '0', '0'} end
local limits = {work = tonumber(ARGV[5]), parked = tonumber(ARGV[6]), pending = tonumber(ARGV[7])}
local item = {id = ARGV[3], model = letter.model, deadline = latest + tonumber(ARGV[4]), reply = '',
  flags = KEEP .. POLL, attempts = 0, body = letter.body, carried = carried}
local status, where, at, wait = place_item(item, now, limits)
if status == 'placed' or status == 'parked' then redis.call('XDEL', DEAD_LETTERS, entry) end
return {status, where or '', at or '', tostring(item.deadline), tostring(wait or 0)}
