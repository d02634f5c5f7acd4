-- wipe_worker: forget a worker's residency and place what it had again; attempts + 1 for what had
-- begun. Past max_attempts a request becomes a dead letter. Returns entries left (chunked).
local DEAD_MAX = 10000

local function bury(item, worker, cause, now)
  redis.call('XADD', DEAD, 'MAXLEN', '~', DEAD_MAX, '*', 'id', item.id, 'model', item.model, 'worker',
    worker, 'attempts', item.attempts, 'cause', cause, 'body', item.body)
  publish(item, 'failed', worker, cause, now)
end

local function wipe_worker(worker, max_attempts, chunk, now)
  local stream, begun, holds = k('work', worker), k('begun', worker), k('holds', worker)
  redis.call('DEL', k('worker', worker))
  for _, ref in ipairs(redis.call('SMEMBERS', holds)) do
    redis.call('HDEL', k('holders', ref), worker)
  end
  redis.call('DEL', holds)
  for _, e in ipairs(redis.call('XRANGE', stream, '-', '+', 'COUNT', chunk)) do
    local item, started = as_table(e[2]), redis.call('HGET', begun, e[1])
    item.attempts = tonumber(item.attempts) + (started and 1 or 0)
    item.deadline = tonumber(item.deadline)
    if take(stream, e[1]) then
      if item.attempts >= max_attempts then
        bury(item, worker, 'model_failed its worker died ' .. item.attempts .. ' times', now)
      else
        local status, where = place_item(item, now)
        if status == 'unloadable' then publish(item, 'failed', worker, where, now) end
      end
    end
  end
  local left = redis.call('XLEN', stream)
  if left == 0 then redis.call('DEL', stream, begun) end
  return left
end
