-- place_item: put a request on the work stream of its least loaded live holder, or park it.
-- item: id, model (ref), deadline, reply, flags, attempts, body, maybe carried (fields of a newer release), fewest (starts
--   of all that are parked). Without limits: an accepted request that moves. Returns 'placed', worker, entry |
--   'parked', '', entry | 'full', limit, '', ms to wait | 'quarantined' or 'unloadable', cause, '', ms to wait.
local function add(stream, item)
  local carried = item.carried or {}
  return redis.call('XADD', stream, '*', 'id', item.id, 'model', item.model, 'deadline',
    text_of(item.deadline), 'reply', item.reply, 'flags', item.flags, 'attempts', text_of(item.attempts), 'body',
    item.body, unpack(carried))
end

local function record(item, status, stream, entry, now)
  local key = k('request', item.id)
  redis.call('HSET', key, 'status', status, 'model', item.model, 'stream', stream, 'entry', entry,
    'deadline', item.deadline, 'flags', item.flags, 'reply', item.reply)
  if #(item.body or '') >= LARGE_BODY then redis.call('HSET', key, 'bytes', #item.body) end
  redis.call('PEXPIRE', key, math.max(item.deadline - now, 0) + LEAP_SPARE_MS)
  redis.call('ZADD', DEADLINES, item.deadline, item.id)
end

local function park(item, now, limits, state)
  local stream = k('parked', item.model)
  local is_first = redis.call('SADD', PARKED, item.model) == 1
  if limits and (is_first and 0 or redis.call('XLEN', stream)) >= limits.parked then
    return 'full', 'parked', '', until_loaded(item.model, now)
  end
  item.flags = with_flag(with_flag(item.flags, KEEP), COLD)
  local entry = add(stream, item)
  record(item, 'parked', stream, entry, now)
  count_record(limits)
  local phase = redis.call('HGET', k('load', item.model), 'phase')
  if phase == 'ordered' then redis.call('EXPIRE', k('load', item.model), JOB_TTL_S) end  -- now a request waits for it
  if not phase and state ~= 'open' then order_load(item.model, item.id, now, {fresh = true}) end
  return 'parked', '', entry
end

local function put_on(worker, item, now, limits, state)
  if state == 'probe' then as_probe(item, now) end
  if watched[item.model] then item.flags = with_flag(item.flags, WATCHED) end
  local stream = k('work', worker)
  local entry = add(stream, item)
  if load_of[worker] == 0 then redis.call('DEL', k('queued', worker)) end
  count_queued(worker, item.model, 1)
  load_of[worker] = load_of[worker] + 1
  if has_flag(item.flags, KEEP) then
    record(item, 'placed', stream, entry, now)
    count_record(limits)
  end
  return 'placed', worker, entry
end

local function place_item(item, now, limits)
  local state, cause, wait = breaker(item.model, now)
  if state == 'probe' and item.attempts > 0 and not item.fewest then state = 'open' end
  local worker, queued, rank, avoided
  if state == 'open' then avoided = crashed_holders(item.model, now) end
  if state ~= 'open' or avoided then
    worker, queued, rank = least_loaded(item.model, now, avoided)
    if avoided then state = 'closed' end
  elseif limits then
    return 'quarantined', cause, '', wait
  end
  if worker and rank > 0 and state == 'closed' then worker = unless_sick(item.model, worker, rank, now) end
  if worker and state == 'closed' then scale_out(item.model, worker, queued, now) end
  if worker and limits and has_enough(worker, item.model, queued, limits.work) then
    local full = worker
    worker = other_holder(item.model, now, limits.work, rank, avoided)
    if not worker then return 'full', 'work', '', until_half(queued, facts(full).completed_per_s) end
  end
  local kept = not worker or state == 'probe' or has_flag(item.flags, KEEP)
  if kept and limits and records_left(limits) < 1 then
    return 'full', 'pending', '', until_half(redis.call('ZCARD', DEADLINES), rate_of_cell(now))
  end
  if worker then return put_on(worker, item, now, limits, state) end
  local why, passing = unloadable(item.model)
  if why and (limits or not passing) then
    return 'unloadable', why, '', redis.call('PTTL', k('unloadable', item.model))
  end
  return park(item, now, limits, why and 'open' or state)
end
