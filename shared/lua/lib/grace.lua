-- grace: after Redis was away (blocked, restarted, failed over, its clock set) no process could renew a lease, so for
-- one lease silence proves nothing. `clock` has 'seen offset grace lease' (keep_clock writes it).

-- Returns the end of the grace (nil: there is none), and whether any gateway keeps the clock.
local function grace_of(now)
  local ends = string.match(redis.call('GET', CLOCK) or '', '^%d+ %S+ (%d+)')
  return tonumber(ends or 0) > now and tonumber(ends) or nil, ends ~= nil
end
