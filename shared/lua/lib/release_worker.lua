-- release_worker: delete a worker's residency and place its requests again; attempts + 1 for those that ran.
-- how: attempts (maximum), cause (text), batch (only that batch ran; nil: all that had started).
-- Over the maximum a request becomes a dead letter. Returns entries left (chunked).
local release_worker
do
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

  local function ran(number, how) return number and (not how.batch or number == how.batch) end

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

  -- Models that the worker was loading: their leases end with it.
  local function give_up_loads(worker, now)
    for _, ref in ipairs(redis.call('SMEMBERS', k('loads', worker))) do
      if redis.call('HGET', k('load', ref), 'worker') == worker then
        redis.call('DEL', k('load', ref))
        local first = redis.call('XRANGE', k('parked', ref), '-', '+', 'COUNT', 1)[1]
        if first and breaker(ref, now) ~= 'open' then order_load(ref, first[1], now) end
      end
    end
    redis.call('DEL', k('loads', worker))
  end

  function release_worker(worker, how, chunk, now)
    local stream, started, holds = k('work', worker), k('started', worker), k('holds', worker)
    unindex_class(worker)
    redis.call('DEL', k('worker', worker))
    redis.call('HDEL', UNHEALTHY, worker)
    for _, ref in ipairs(redis.call('SMEMBERS', holds)) do
      redis.call('HDEL', k('holders', ref), worker)
    end
    redis.call('DEL', holds)
    give_up_loads(worker, now)
    local entries, items = redis.call('XRANGE', stream, '-', '+', 'COUNT', chunk), {{}, {}}
    for _, e in ipairs(entries) do
      local item, has_run = moving(e[2], stream, e[1]), ran(redis.call('HGET', started, e[1]), how)
      if item and has_run then item.attempts = item.attempts + 1 end
      if item and take_entry(stream, e[1], item.model) then table.insert(items[has_run and 2 or 1], item) end
    end
    for _, list in ipairs(items) do  -- what may have crashed it comes after the others
      for _, item in ipairs(list) do move(item, worker, how, now) end
    end
    local left = redis.call('XLEN', stream)
    if left == 0 then redis.call('DEL', stream, started, k('queued', worker)) end
    return left
  end
end
