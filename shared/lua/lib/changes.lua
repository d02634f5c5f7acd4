-- changes: what a worker is to read again of its copies. changed:<worker> has the refs whose policy, pins or number of
-- copies may have changed; the worker's next heartbeat returns them. So no worker reads per copy and second. A lost answer
-- costs little: a worker reads each copy again from time to time, and `retire` decides for the whole cell anyway.
-- Of many holders `notifying` has the cursor from which they are still to be notified: `reconcile` goes on (notify_next).
local NOTIFIED, notify_holders, notify_next = {all = 128, some = 4}, nil, nil
do
  local CHANGED_TTL_MS = 60000

  local function notify(workers, ref)
    for _, worker in ipairs(workers) do
      redis.call('SADD', k('changed', worker), ref)
      redis.call('PEXPIRE', k('changed', worker), CHANGED_TTL_MS)
    end
  end

  local function go_on(ref, cursor)
    redis.call('HSET', NOTIFYING, ref, cursor)
    redis.call('PEXPIRE', NOTIFYING, CHANGED_TTL_MS)
  end

  -- Notify the holders of `ref`: all of them, more than NOTIFIED.all by and by; or some, a random choice: the others
  -- find it out more slowly.
  function notify_holders(ref, most)
    local holders = k('holders', ref)
    if redis.call('HLEN', holders) <= most then return notify(redis.call('HKEYS', holders), ref) end
    if most == NOTIFIED.all then return go_on(ref, '0') end
    notify(redis.call('HRANDFIELD', holders, most), ref)
  end

  -- Notify the next part of the holders of one model of which some are still to be notified.
  function notify_next()
    local ref, cursor = unpack(redis.call('HRANDFIELD', NOTIFYING, 1, 'WITHVALUES'))
    if not ref then return end
    local found, workers = redis.call('HSCAN', k('holders', ref), cursor, 'COUNT', NOTIFIED.all), {}
    for i = 1, #found[2], 2 do workers[#workers + 1] = found[2][i] end
    notify(workers, ref)
    if found[1] == '0' then redis.call('HDEL', NOTIFYING, ref) else go_on(ref, found[1]) end
  end
end
