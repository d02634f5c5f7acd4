-- changes: what a worker is to read again of its copies. changed:<worker> has the refs whose policy, pins or number of
-- copies may have changed; the worker's next heartbeat returns them. So no worker reads per copy and second. A lost answer
-- costs little: a worker reads each copy again from time to time, and `retire` decides for the whole cell anyway.
local NOTIFIED, notify_holders = {all = 1000, some = 4}, nil
do
  local CHANGED_TTL_MS = 60000

  -- Notify the holders of `ref`, `most` of them: a random choice; the others find it out more slowly.
  function notify_holders(ref, most)
    local holders = k('holders', ref)
    local few = redis.call('HLEN', holders) <= most
    local notified = few and redis.call('HKEYS', holders) or redis.call('HRANDFIELD', holders, most)
    for _, worker in ipairs(notified) do
      redis.call('SADD', k('changed', worker), ref)
      redis.call('PEXPIRE', k('changed', worker), CHANGED_TTL_MS)
    end
  end
end
