-- publish_reply: write the rendered outcome of a streamed request to its reply_to, once.
-- use: keys, constants
-- KEYS[1] prefix. ARGV: now, door ('outbox' or 'ingress'), entry, reply_to ('' writes nothing), life ms,
--   dead ('1' also keeps a dead letter: the answer, and the entry if it is not too large), then
--   field value pairs of the answer.
-- Returns {'answered'} | {'late'} (another gateway did) | {'refused', why}: reply_to could not be written, and
--   the answer is a dead letter. It is written before anything is deleted: Redis does not roll back.
-- A stream that this script made lives for `life` after its last answer; that of another owner as before.
local door, entry, reply_to = P .. ARGV[2], ARGV[3], ARGV[4]
local original = redis.call('XRANGE', door, entry, entry)[1]
if not original then return {'late'} end
open_with_harmless_write()
local fields = {}
for i = 7, #ARGV do fields[#fields + 1] = ARGV[i] end

-- Why it cannot be written, or nil. An ACL, another slot of a cluster and another type refuse.
local function refusal_of_write()
  local kind = redis.pcall('TYPE', reply_to)
  if kind.err then return kind.err end
  if kind.ok ~= 'none' and kind.ok ~= 'stream' then return 'it is a ' .. kind.ok .. ', not a stream' end
  local written = redis.pcall('XADD', reply_to, '*', unpack(fields))
  if type(written) == 'table' and written.err then return written.err end
  local mark = k('reply_stream', redis.sha1hex(reply_to))
  if kind.ok == 'none' or (redis.call('EXISTS', mark) == 1 and redis.pcall('PTTL', reply_to) ~= -1) then
    redis.pcall('PEXPIRE', reply_to, ARGV[5])
    redis.call('SET', mark, '1', 'PX', ARGV[5])
  end
end

local function write_letter(letter)
  local bytes = RECORD_BYTES
  for _, part in ipairs(letter) do bytes = bytes + #part end
  local kept = redis.call('XADD', DEAD_LETTERS, 'MAXLEN', DEAD_LETTERS_MAX, '*', unpack(letter))
  count_kept('letters', kept, bytes, clock())
end

-- The entry of `ingress`, for its replay. `why`: its answer could not be written.
local function entry_letter(said, why)
  local sent = as_table(original[2])
  local letter = {'kind', 'entry', 'entry', entry, 'cause', (said.code or 'invalid') .. ' ' .. (said.error or '')
    .. (why and '; reply_to was refused: ' .. why or ''), 'fingerprint', redis.sha1hex(sent.body or '')}
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
  return letter
end

local why = reply_to ~= '' and refusal_of_write() or nil
redis.call('XDEL', door, entry)
redis.call('XACK', door, DOOR_GROUP, entry)
local said = as_table(fields)
if ARGV[2] == 'ingress' and (ARGV[6] == '1' or why) then
  write_letter(entry_letter(said, why))
elseif why then  -- its outcome can be polled under this id
  write_letter({'kind', 'request', 'id', said.request or '', 'model', said.model or '', 'worker', said.worker or '',
    'cause', 'invalid reply_to was refused: ' .. why, 'reply_to', reply_to, 'status', said.status or ''})
end
return why and {'refused', why} or {'answered'}
