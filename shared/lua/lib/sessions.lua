-- sessions: sets of models that stay while their session is kept alive.
-- session:<id> holds `models` as 'ref bytes ref bytes ...'; pinned:<ref> the ids of its sessions.
local KEPT_AFTER = 60000

local function models_of(text)
  local list = {}
  for ref, bytes in string.gmatch(text or '', '(%S+) (%d+)') do
    list[#list + 1] = {ref = ref, bytes = tonumber(bytes)}
  end
  return list
end

local function end_session(id)
  for _, model in ipairs(models_of(redis.call('HGET', k('session', id), 'models'))) do
    redis.call('SREM', k('pinned', model.ref), id)
  end
  redis.call('DEL', k('session', id))
  return redis.call('ZREM', SESSIONS, id)
end

-- Bytes that each live, ready worker can still give to pinned models.
local function free_bytes(now)
  local free = {}
  for _, worker in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, '(' .. now, '+inf')) do
    local r = redis.call('HMGET', k('worker', worker), 'state', 'budget')
    if r[1] == 'ready' then free[#free + 1] = {worker = worker, bytes = tonumber(r[2] or 0) or 0} end
  end
  return free
end

-- Take `model` out of the worker that holds it already, else out of the one with the most room.
-- Returns that worker, or nil: it fits nowhere.
local function take_room(free, model, now)
  local best
  for _, bin in ipairs(free) do
    if redis.call('HEXISTS', k('holders', model.ref), bin.worker) == 1 and bin.bytes >= model.bytes then
      best = bin
      break
    end
    if not best or bin.bytes > best.bytes then best = bin end
  end
  if not best or best.bytes < model.bytes then return nil end
  best.bytes = best.bytes - model.bytes
  return best.worker
end

local function largest_first(a, b) return a.bytes > b.bytes or (a.bytes == b.bytes and a.ref < b.ref) end
