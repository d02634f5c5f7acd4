-- cold_queue: the orders that wait. It is a list of job ids in RQ's format, the oldest first, and its index waiting_orders: ref -> since when
-- its order waits, ms, in the same order. So what has been taken from the list, and is not claimed, is found without a
-- search: it is older than the head. An id whose order was claimed, cancelled or replaced is taken out of a short list;
-- of a long one it is dropped when it is the head (compact_queue).
local function job_id(ref, token)
  return 'load-' .. string.sub(redis.sha1hex(ref), 1, 16) .. '-' .. token
end

local queue_head, enqueue, forget_order, compact_queue
do
  local SHORT, HEADS, COMPACTED = 1000, 16, 512

  local function ref_that_waits(id)
    local read, job = pcall(cjson.decode, redis.pcall('HGET', P .. 'rq:job:' .. id, 'data') or '')
    local ref = read and type(job) == 'table' and type(job[3]) == 'table' and job[3][1]
    if type(ref) ~= 'string' then return nil end
    local lease = redis.pcall('HMGET', k('load', ref), 'token', 'phase')
    return lease[2] == 'ordered' and job_id(ref, lease[1]) == id and ref or nil
  end

  local function drop(id) redis.call('DEL', P .. 'rq:job:' .. id) end

  -- Since when the head of the list waits; infinite if the list is empty, nil if it is not known in so many steps.
  function queue_head(most)
    for _ = 1, most do
      local id = redis.call('LINDEX', COLD_QUEUE, 0)
      if not id then return redis.call('EXISTS', COMPACTED_QUEUE) == 0 and math.huge or nil end
      local ref = ref_that_waits(id)
      if ref then return tonumber(redis.call('ZSCORE', WAITING_ORDERS, ref) or nil) end
      redis.call('LPOP', COLD_QUEUE)
      drop(id)
    end
  end

  -- An order for requests that have waited since then keeps its place, if that was before the head; one that a worker
  -- had claimed (`turn`) had its turn, and comes first. Another goes to the end.
  function enqueue(ref, id, now, since, turn)
    local head = since and queue_head(HEADS)
    if head and (turn or since < head) then
      since = math.min(since, head - 1)
      redis.call('LPUSH', COLD_QUEUE, id)
    else
      local last = redis.call('ZRANGE', WAITING_ORDERS, -1, -1, 'WITHSCORES')[2]
      since = math.max(now, tonumber(last or 0))
      redis.call('RPUSH', redis.call('EXISTS', COMPACTED_QUEUE) == 1 and COMPACTED_QUEUE or COLD_QUEUE, id)
    end
    redis.call('ZADD', WAITING_ORDERS, since, ref)
    return since
  end

  -- It does not wait any more. A job that RQ has taken is RQ's.
  function forget_order(ref, token)
    local id = job_id(ref, token)
    redis.call('ZREM', WAITING_ORDERS, ref)
    if redis.call('LLEN', COLD_QUEUE) <= SHORT then redis.call('LREM', COLD_QUEUE, 1, id) end
    if redis.call('HGET', P .. 'rq:job:' .. id, 'status') == 'queued' then drop(id) end
  end

  -- A long list of which most has gone is written anew, a part in each call; meanwhile new orders go to its rest.
  function compact_queue()
    local length = redis.call('LLEN', COLD_QUEUE)
    if redis.call('EXISTS', COMPACTED_QUEUE) == 0 then
      if length <= SHORT or length <= 2 * redis.call('ZCARD', WAITING_ORDERS) then return end
      redis.call('RENAME', COLD_QUEUE, COMPACTED_QUEUE)
    end
    for _ = 1, COMPACTED do
      local id = redis.call('LPOP', COMPACTED_QUEUE)
      if not id then return end
      if ref_that_waits(id) then redis.call('RPUSH', COLD_QUEUE, id) else drop(id) end
    end
  end
end
