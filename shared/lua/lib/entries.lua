-- entries: read and delete work entries. Only the call that deletes an entry may publish or move its request.
-- Delete a request of this model from the stream in which it waits or runs. True for the one call that wins.
local function take_entry(stream, entry, ref)
  if redis.call('XDEL', stream, entry) == 0 then return false end
  if string.find(stream, P .. 'work:', 1, true) == 1 then
    local worker = string.sub(stream, #P + 6)
    count_queued(worker, ref, -1)
    local epoch = redis.call('HGET', k('worker', worker), 'epoch')
    if epoch then redis.call('XACK', stream, epoch, entry) end
    redis.call('HDEL', k('started', worker), entry)
  end
  return true
end

-- Of at most 15 digits, or nil: Redis takes no later time.
local function whole_number(text)
  local digits = string.match(text or '', '^%d+$')
  return digits and #digits <= 15 and tonumber(digits) or nil
end

-- The request of an entry, as an item for place_item that moves it; its record may have more flags than
-- its entry (hand_over). An entry that `place` did not write becomes a dead letter: nil.
local function moving(flat, stream, entry)
  local item = {reply = '', flags = '', attempts = 0, carried = {}}
  for i = 1, #flat, 2 do
    if ENTRY_FIELDS[flat[i]] then
      item[flat[i]] = flat[i + 1]
    else
      table.insert(item.carried, flat[i])
      table.insert(item.carried, flat[i + 1])
    end
  end
  item.attempts, item.deadline = whole_number(item.attempts), whole_number(item.deadline)
  local whole = item.id and item.model and item.body and item.attempts and item.deadline
  if not whole or #item.carried > 2 * CARRIED_MAX then
    redis.call('XDEL', stream, entry)
    redis.call('XADD', DEAD_LETTERS, 'MAXLEN', DEAD_LETTERS_MAX, '*', 'kind', 'entry', 'entry', entry, 'cause',
      'invalid no request')
    return nil
  end
  item.flags = redis.call('HGET', k('request', item.id), 'flags') or item.flags
  return item
end
