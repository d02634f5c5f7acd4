-- order_load: write the load lease and its invitation, an RQ job in RQ's own format, in one step.
-- The job carries (ref, token); the worker that claims the token loads. Late or double jobs find it taken. The
-- worker that can load the model soonest (`for`) gets the order directly too, and has a head start.
local JOB_TTL_S, NO_CAPACITY_TTL = 3600, 5000

-- What a call of a script has done, for its budget: an order costs as much as ORDER_UNITS entries that are placed.
local ORDER_UNITS, orders_written = 12, 0
local function work_done(entries) return entries + ORDER_UNITS * orders_written end

-- The worker that has it soonest, and '1' if all have failed: an order must have a worker that may take it. In a crowd of
-- cold models most are held nowhere, were never tried, and are near no worker: then one question is enough.
local function choose_loader(ref, now, refused, extra, larger)
  local plain = refused == '' and extra ~= 'scale_out' and not larger
  if plain and redis.call('EXISTS', k('holders', ref), k('failed_on', ref), k('incompatible', ref), k('warm', ref)) == 0 then
    return '', ''
  end
  local chosen, soonest = fastest_loader(ref, now, excluding(ref, now, refused, extra, larger))
  if soonest or not has_failures(ref) then return chosen, '' end
  chosen = fastest_loader(ref, now, excluding(ref, now, refused, extra, larger, true))
  return chosen, '1'
end

-- Returns its token; nil for a model that no request waits for, whose load ends.
-- more: refused (workers that are not to load it), extra (why it is ordered without a parked request: such an order is
-- not cancelled when none waits), larger (a budget that it does not fit, bytes), worker (that is to load it), fresh (no lease).
local function order_load(ref, seed, now, more)
  more = more or {}
  local refused, extra, chosen, all_failed = more.refused or '', more.extra or '', more.worker, ''
  local required = extra ~= '' or more.fresh or redis.call('XLEN', k('parked', ref)) > 0
  if not required then return redis.call('DEL', k('load', ref)) and nil end
  if not chosen then chosen, all_failed = choose_loader(ref, now, refused, extra, more.larger) end
  local token = string.sub(redis.sha1hex(seed .. now), 1, 24)
  local load, id = k('load', ref), job_id(ref, token)
  local job, at = P .. 'rq:job:' .. id, '1970-01-01T00:00:00.000000Z'
  local before, since, turn = more.fresh and {} or redis.call('HMGET', load, 'phase', 'queued'), nil, nil
  if extra == '' then
    turn = before[1] == 'loading' and before[2]
    since = tonumber(turn or redis.call('ZSCORE', WAITING_ORDERS, ref) or nil)
  end
  if before[1] then redis.call('DEL', load) end
  since = enqueue(ref, id, now, since, turn)
  redis.call('HSET', load, 'token', token, 'phase', 'ordered', 'worker', '', 'since', now,
    'refused', refused, 'extra', extra, 'for', chosen, 'all_failed', all_failed,
    'larger', more.larger or '', 'queued', string.format('%.0f', since))
  redis.call('PEXPIRE', load, extra == '' and JOB_TTL_S * 1000 or ORDER_TTL_MS)
  redis.call('HSET', job, 'data', cjson.encode({'warmroute.load', cjson.null, {ref, token}, {}}),
    'created_at', at, 'enqueued_at', at, 'origin', 'cold', 'status', 'queued', 'timeout', 60,
    'result_ttl', 120, 'failure_ttl', 600, 'description', 'load')
  redis.call('EXPIRE', job, JOB_TTL_S)
  if orders_written == 0 then redis.call('SADD', P .. 'rq:queues', COLD_QUEUE) end
  orders_written = orders_written + 1
  if chosen == '' then return token end
  redis.call('RPUSH', k('orders', chosen), 'load ' .. ref .. ' ' .. token)
  redis.call('LTRIM', k('orders', chosen), -ORDERS_MAX, -1)
  redis.call('PEXPIRE', k('orders', chosen), DIRECT_TTL_MS)
  return token
end

-- Cancel the unclaimed order of `ref`, for which no request waits any more; one that was
-- written ahead of requests only if `extra` is true.
local function cancel_order(ref, extra)
  local load = k('load', ref)
  if redis.call('XLEN', k('parked', ref)) > 0 then return end
  redis.call('SREM', PARKED, ref)
  redis.call('DEL', k('parked', ref))
  local lease = redis.call('HMGET', load, 'token', 'phase', 'extra')
  if lease[2] ~= 'ordered' then return end
  if (lease[3] or '') == '' or extra then
    redis.call('DEL', load)
    forget_order(ref, lease[1])
  elseif redis.call('PTTL', load) > ORDER_TTL_MS then
    redis.call('PEXPIRE', load, ORDER_TTL_MS)  -- none waits for it
  end
end
