-- close_session: end a session; its models may be evicted again.
-- use: keys, constants, changes, report, reserved, sessions
-- KEYS[1] prefix. ARGV: now, id. Returns 1 closed | 0 not found.
return end_session(ARGV[2])
