-- place_item: put a request on the work stream of its least loaded live holder, or park it.
-- item: id, model (ref), deadline, reply, flags, attempts, body; limits: work, parked, and how many
-- more records the cell may have (a request that is placed and not kept has none).
-- Returns 'placed', worker, entry | 'parked', '', entry | 'full', reason | 'unloadable', cause.
local CELL_FULL = 'the requests pending in this cell'
local holders_of, load_of = {}, {}

local function live_holders(ref, now)
  if holders_of[ref] then return holders_of[ref] end
  local live = {}
  for _, worker in ipairs(redis.call('HKEYS', k('holders', ref))) do
    local lease = redis.call('ZSCORE', WORKERS, worker)
    if lease and tonumber(lease) > now then live[#live + 1] = worker end
  end
  holders_of[ref] = live
  return live
end

local function least_loaded(ref, now)
  local best, least
  for _, worker in ipairs(live_holders(ref, now)) do
    load_of[worker] = load_of[worker] or redis.call('XLEN', k('work', worker))
    if not least or load_of[worker] < least then best, least = worker, load_of[worker] end
  end
  return best, least
end

local function add(stream, item)
  return redis.call('XADD', stream, '*', 'id', item.id, 'model', item.model, 'deadline',
    item.deadline, 'reply', item.reply, 'flags', item.flags, 'attempts', item.attempts, 'body',
    item.body)
end

local function record(item, status, stream, entry, now)
  local key = k('request', item.id)
  redis.call('HSET', key, 'status', status, 'model', item.model, 'stream', stream, 'entry', entry,
    'deadline', item.deadline, 'flags', item.flags, 'reply', item.reply)
  redis.call('PEXPIRE', key, math.max(item.deadline - now, 0) + 3600000)
  redis.call('ZADD', DEADLINES, item.deadline, item.id)
end

-- Whether the cell has room for the record that this request would make.
local function record_fits(limits)
  if not limits then return true end
  limits.records = limits.records - 1
  return limits.records >= 0
end

local function place_item(item, now, limits)
  local worker, queued = least_loaded(item.model, now)
  local kept = string.find(item.flags, 'k', 1, true)
  if worker and limits and queued >= limits.work then return 'full', 'every holder of this model' end
  if worker and kept and not record_fits(limits) then return 'full', CELL_FULL end
  if worker then
    local stream = k('work', worker)
    local entry = add(stream, item)
    load_of[worker] = queued + 1
    if kept then record(item, 'placed', stream, entry, now) end
    return 'placed', worker, entry
  end
  local cause = redis.call('GET', k('unloadable', item.model))
  if cause then return 'unloadable', cause end
  local stream = k('parked', item.model)
  if limits and redis.call('XLEN', stream) >= limits.parked then
    return 'full', 'the requests that wait for this model to load'
  end
  if not record_fits(limits) then return 'full', CELL_FULL end
  if not kept then item.flags = item.flags .. 'k' end
  if not string.find(item.flags, 'c', 1, true) then item.flags = item.flags .. 'c' end
  local entry = add(stream, item)
  record(item, 'parked', stream, entry, now)
  redis.call('SADD', PARKED, item.model)
  if redis.call('EXISTS', k('load', item.model)) == 0 then order_load(item.model, item.id, now) end
  return 'parked', '', entry
end
