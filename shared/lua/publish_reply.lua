-- publish_reply: write the rendered outcome of a streamed request to its reply_to, once.
-- use: keys, constants
-- KEYS[1] prefix. ARGV: now, door ('outbox' or 'ingress'), entry, reply_to ('' writes nothing), life ms,
--   dead ('1' also keeps a dead letter: the answer, and the entry if it is not too large), then
--   field value pairs of the answer.
-- Returns 1 answered | 0 another gateway did. A reply_to that is not a stream, or one that takes no more
-- entries, gets nothing; the entry is deleted.
local door, entry, reply_to = P .. ARGV[2], ARGV[3], ARGV[4]
local original = redis.call('XRANGE', door, entry, entry)[1]
if redis.call('XDEL', door, entry) == 0 then return 0 end
redis.call('XACK', door, DOOR_GROUP, entry)
local fields = {}
for i = 7, #ARGV do fields[#fields + 1] = ARGV[i] end
if ARGV[6] == '1' then
  local sent, said = as_table(original[2]), as_table(fields)
  local letter = {'kind', 'entry', 'entry', entry, 'cause', (said.code or 'invalid') .. ' ' .. (said.error or ''),
    'fingerprint', redis.sha1hex(sent.body or '')}
  for name in pairs(DOOR_FIELDS) do
    if sent[name] and #sent[name] <= LETTER_BODY_MAX then
      letter[#letter + 1] = name
      letter[#letter + 1] = sent[name]
    end
  end
  local left = LETTER_BODY_MAX  -- for all fields that are not known
  for i = 1, math.min(#original[2], 2 * CARRIED_MAX), 2 do
    local name, value = original[2][i], original[2][i + 1]
    local size = #name + #value
    if not DOOR_FIELDS[name] and size <= left then
      left = left - size
      letter[#letter + 1] = CARRIED .. name
      letter[#letter + 1] = value
    end
  end
  local bytes = RECORD_BYTES
  for _, part in ipairs(letter) do bytes = bytes + #part end
  local kept = redis.call('XADD', DEAD_LETTERS, 'MAXLEN', DEAD_LETTERS_MAX, '*', unpack(letter))
  count_kept('letters', kept, bytes, clock())
end
local kind = reply_to ~= '' and redis.call('TYPE', reply_to)['ok'] or 'none'
if reply_to ~= '' and (kind == 'stream' or kind == 'none') then
  redis.pcall('XADD', reply_to, '*', unpack(fields))
  redis.call('PEXPIRE', reply_to, ARGV[5])
end
return 1
