-- move: place the request of a worker that is being released again, or end it.
-- how: attempts (maximum), cause (text). Over the maximum a request becomes a dead letter.
local function dead_letter(item, worker, cause, now)
  local letter = {'kind', 'request', 'id', item.id, 'model', item.model, 'worker', worker, 'attempts',
    item.attempts, 'cause', cause, 'fingerprint', redis.sha1hex(item.body)}
  local kept = #item.body <= LETTER_BODY_MAX and item.body or ''
  if kept ~= '' then
    letter[#letter + 1] = 'body'
    letter[#letter + 1] = kept
  end
  for i, part in ipairs(item.carried) do letter[#letter + 1] = (i % 2 == 1 and CARRIED or '') .. part end
  local entry = redis.call('XADD', DEAD_LETTERS, 'MAXLEN', DEAD_LETTERS_MAX, '*', unpack(letter))
  count_kept('letters', entry, #kept + RECORD_BYTES, now)
  publish(item, 'failed', worker, cause, now)
end

local function move(item, worker, how, now)
  if item.deadline <= now then
    return publish(item, 'expired', worker, 'expired the deadline passed', now)
  end
  if item.attempts >= how.attempts then
    return dead_letter(item, worker, 'dead_lettered after ' .. item.attempts .. ' starts: ' .. how.cause, now)
  end
  -- Its gateway gets no message about the move: from now on the record has its place.
  item.flags = with_flag(item.flags, KEEP)
  local status, cause = place_item(item, now)
  if status == 'unloadable' then publish(item, 'failed', worker, cause, now) end
end
