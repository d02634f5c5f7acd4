-- reserved: bytes of workers for models that sessions pin. `reserved` has where, ref -> 'worker epoch bytes', and the record
-- of the worker the sums (report). With another epoch a row means nothing: that process has gone, and the sums with it.
-- Returns the worker (nil: it has gone) and the bytes (nil: nothing is reserved).
local function reservation_of(ref)
  local worker, epoch, bytes = string.match(redis.call('HGET', RESERVED, ref) or '', '^(%S+) (%S+) (%d+)$')
  return worker and reported(worker, 'epoch') == epoch and worker or nil, tonumber(bytes)
end

local function unreserve(ref)
  local worker, bytes = reservation_of(ref)
  if worker then add_for_sessions(worker, -bytes, -1) end
  redis.call('HDEL', RESERVED, ref)
end

-- On a worker that has registered.
local function reserve(ref, worker, bytes)
  unreserve(ref)
  redis.call('HSET', RESERVED, ref, string.format('%s %s %.0f', worker, facts(worker).epoch, bytes))
  add_for_sessions(worker, bytes, 1)
end
