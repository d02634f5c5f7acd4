-- tend: end sessions that have expired, and order copies that should be there and are not.
-- use: keys, holders, nearest, order, breaker, copies, sessions
-- KEYS[1] prefix. ARGV: now, chunk. Returns {sessions ended, copies ordered}.
local now, ended, ordered = clock(), 0, 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', SESSIONS, '-inf', now, 'LIMIT', 0, ARGV[2])) do
  ended = ended + end_session(id)
end
for _, ref in ipairs(redis.call('SRANDMEMBER', WANTED, ARGV[2])) do
  local least = least_copies(ref)
  if least == 0 then
    redis.call('SREM', WANTED, ref)
  elseif #live_holders(ref, now) < least and order_missing(ref, now, 'wanted') then
    ordered = ordered + 1
  end
end
return {ended, ordered}
