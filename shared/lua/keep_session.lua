-- keep_session: the client of a session lives: its expiry moves.
-- use: keys, sessions
-- KEYS[1] prefix. ARGV: now, id, ttl ms. Returns the new expiry, ms | 0 (closed, or expired).
local now, id, ttl = clock(), ARGV[2], tonumber(ARGV[3])
local expiry = tonumber(redis.call('ZSCORE', SESSIONS, id) or 0)
if expiry <= now or redis.call('EXISTS', k('session', id)) == 0 then return 0 end
redis.call('ZADD', SESSIONS, now + ttl, id)
redis.call('PEXPIRE', k('session', id), ttl + KEPT_AFTER)
return now + ttl
