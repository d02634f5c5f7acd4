-- record_outcomes: make the outcomes of answered requests without a record available by id.
-- use: keys, constants, report, bounds, outcomes
-- KEYS[1] prefix. ARGV: now, the most that the cell keeps, then id and text pairs (see lib/outcomes).
-- Returns 1 | 0 Redis has no headroom for them: nothing is kept.
local now, ends, bytes = clock(), {}, 0
for i = 3, #ARGV do
  ends[#ends + 1] = ARGV[i]
  bytes = bytes + #ARGV[i] + 32
end
if not memory_fits(bytes) then return 0 end
record_outcomes('answered', tonumber(ARGV[2]), ends, now)
return 1
