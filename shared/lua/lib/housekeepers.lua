-- housekeepers: the few gateways that keep house for the cell, so that its cost does not grow with their number. They are
-- a few, so that it goes on when one dies; the next beat of any other gateway takes the place that it leaves.
local keeps_house
do
  local KEEPERS, KEEPER_MS, TTL_MS = 3, 1500, 60000

  -- Whether this gateway, which lives, keeps house until its next beat.
  function keeps_house(gateway, now)
    redis.call('ZREMRANGEBYSCORE', HOUSEKEEPERS, '-inf', now)
    redis.call('ZREMRANGEBYSCORE', HOUSEKEEPERS, '(' .. now + KEEPER_MS, '+inf')  -- the clock went back
    local has_place = redis.call('ZSCORE', HOUSEKEEPERS, gateway)
    if not has_place and redis.call('ZCARD', HOUSEKEEPERS) >= KEEPERS then return false end
    redis.call('ZADD', HOUSEKEEPERS, now + KEEPER_MS, gateway)
    redis.call('PEXPIRE', HOUSEKEEPERS, TTL_MS)
    return true
  end
end
