-- keep_session: extend the expiry of a session whose client is alive.
-- use: keys, constants, changes, grace, report, reserved, sessions
-- KEYS[1] prefix. ARGV: now, id, ttl ms ('' as before). Returns the new expiry, ms | 0 (closed, or expired).
local now, id = clock(), ARGV[2]
local ttl = tonumber(ARGV[3]) or tonumber(redis.call('HGET', k('session', id), 'ttl') or 0)
local expiry = tonumber(redis.call('ZSCORE', SESSIONS, id) or 0)
if expiry == 0 or redis.call('EXISTS', k('session', id)) == 0 then return 0 end
open_with_harmless_write()
if expiry <= now and not grace_of(now) then return 0 end  -- else Redis was away, not the client
redis.call('ZADD', SESSIONS, now + ttl, id)
redis.call('PEXPIRE', k('session', id), ttl + STALL_SPARE_MS)
return now + ttl
