-- stall: whether Redis itself was away: blocked, restarted, failed over, or its clock was set.
-- Every gateway does housekeeping about twice a second. If none did for longer, the workers and gateways
-- could not renew their leases either: their silence proves nothing. Such a gap, a clock that went back, or a
-- missing note starts a grace of one lease. `stall` holds 'last call, end of the grace, lease, clock went back'.
local STALL_TTL_MS, LEASES_AT_ONCE = 3600000, 1000

-- Returns the end of the grace (nil: there is none), and whether the clock went back before it. Without `lease`
-- (ms) the one that was noted last counts; if none was, nothing is known and nothing is noted.
local function grace_after_stall(now, lease)
  local seen, grace, noted, back = string.match(redis.call('GET', STALL) or '', '^(%d+) (%d+) (%d+) (%d)$')
  lease = lease or tonumber(noted)
  if not lease then return nil, false end
  -- A lease is renewed once in a quarter of it, so one that a shorter gap has hidden is still good.
  local longest = math.max(750, math.min(lease / 2, 2500))
  local gap = now - (tonumber(seen) or 0)
  if math.abs(gap) > longest then grace, back = now + lease, gap < 0 and '1' or '0' end
  redis.call('SET', STALL, string.format('%.0f %.0f %.0f %s', now, grace, lease, back), 'PX', STALL_TTL_MS)
  grace = tonumber(grace)
  return grace > now and grace or nil, back == '1'
end

-- In a grace no process is dead: expired leases of a zset last until its end. Leases of before the clock went back
-- are shortened to one lease. A worker that is being released stays so. Returns 0.
local function extend_leases(zset, now, lease, grace, back)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', zset, '-inf', now, 'LIMIT', 0, LEASES_AT_ONCE)) do
    local released = zset == WORKERS and redis.call('EXISTS', k('worker', id)) == 0
    if not released then redis.call('ZADD', zset, grace, id) end
  end
  if not back then return 0 end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', zset, '(' .. now + lease, '+inf', 'LIMIT', 0, LEASES_AT_ONCE)) do
    redis.call('ZADD', zset, now + lease, id)
  end
  return 0
end
