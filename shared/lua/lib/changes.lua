-- changes: what a worker is to read again of its copies. changed:<worker> has the refs whose policy, pins or number of
-- copies may have changed; the worker's next heartbeat returns them. So nobody reads per copy and second. A lost answer
-- costs little: a worker reads each copy again from time to time, and `retire` decides for the whole cell anyway.
local TOLD, tell_holders = {all = 1000, some = 4}, nil
do
  local CHANGED_TTL_MS = 60000

  -- Tell the holders of `ref`, `most` of them (which, is left to chance; the others find it out more slowly).
  function tell_holders(ref, most)
    local holders = k('holders', ref)
    local few = redis.call('HLEN', holders) <= most
    local told = few and redis.call('HKEYS', holders) or redis.call('HRANDFIELD', holders, most)
    for _, worker in ipairs(told) do
      redis.call('SADD', k('changed', worker), ref)
      redis.call('PEXPIRE', k('changed', worker), CHANGED_TTL_MS)
    end
  end
end
