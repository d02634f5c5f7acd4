-- close_session: its models may be evicted again.
-- use: keys, constants, report, sessions
-- KEYS[1] prefix. ARGV: now, id. Returns 1 closed | 0 there was none.
return end_session(ARGV[2])
