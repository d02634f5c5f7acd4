-- complete: delete the work entries AND publish their outcomes, or neither.
-- use: keys, constants, queued, outcomes, publish
-- rarely: record_failure, count_success, count_kept, write_counts
-- KEYS[1] prefix. ARGV: now, worker, epoch, then per item: entry, id, reply gateway, flags, status
--   (succeeded | failed | expired), outcome, ref, and of a failure its full cause (or '').
-- Returns per item 1 won | 0 lost (repeat, cancelled, moved); {-1} if fenced.
-- An entry is deleted only if this worker has read it (XACK answers 1): after a failover to a Redis that has lost some,
-- and whose clock is behind, its id may be that of another request.
-- Begins with XACK and XDEL, which Redis allows over maxmemory.
local worker = ARGV[2]
if redis.call('HGET', k('worker', worker), 'epoch') ~= ARGV[3] then return {-1} end
local now, stream, out, won = clock(), k('work', worker), {}, {}
count_together()
for i = 4, #ARGV, 8 do
  local is_read = redis.call('XACK', stream, ARGV[3], ARGV[i]) == 1
  out[#out + 1] = is_read and redis.call('XDEL', stream, ARGV[i]) or 0
  if out[#out] == 1 then
    won[#won + 1] = ARGV[i]
    count_queued(worker, ARGV[i + 6], -1)
  end
end
write_counted()
if #won > 0 then redis.call('HDEL', k('started', worker), unpack(won)) end
for i = 4, #ARGV, 8 do
  if out[(i - 4) / 8 + 1] == 1 then
    publish({id = ARGV[i + 1], reply = ARGV[i + 2], flags = ARGV[i + 3], model = ARGV[i + 6],
      cause = ARGV[i + 7]}, ARGV[i + 4], worker, ARGV[i + 5], now)
  end
end
return out
