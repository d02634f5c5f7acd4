-- reconcile: end sessions that have expired, and order copies that should be there and are not.
-- use: keys, constants, report, holders, load_target, order, breaker, copies, sessions
-- KEYS[1] prefix. ARGV: now, chunk. Returns {sessions ended, copies ordered}.
local now, ended, ordered = clock(), 0, 0
local most = 2 * redis.call('ZCOUNT', WORKERS, '(' .. now, '+inf')
for _, id in ipairs(redis.call('ZRANGEBYSCORE', SESSIONS, '-inf', now, 'LIMIT', 0, ARGV[2])) do
  ended = ended + end_session(id)
end
for _, ref in ipairs(redis.call('SRANDMEMBER', MIN_COPIES, ARGV[2])) do
  unpin_lost(ref)
  local least = least_copies(ref)
  redis.call('PEXPIRE', k('stats', ref), STATS_TTL)  -- the statistics of a model that is to stay do not expire with its last load
  if least == 0 then
    redis.call('SREM', MIN_COPIES, ref)
  elseif redis.call('LLEN', COLD_QUEUE) > most then
    break  -- loads that requests wait for go before those that none waits for
  elseif #live_holders(ref, now) < least and order_missing(ref, now, 'min_copies') then
    ordered = ordered + 1
  end
end
return {ended, ordered}
