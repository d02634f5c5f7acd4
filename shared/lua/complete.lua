-- complete: delete the work entries AND publish their outcomes, or neither.
-- use: keys, constants, queued, came_back, outcomes, publish
-- rarely: record_failure, count_success, count_kept, write_counts, is_another
-- KEYS[1] prefix. ARGV: now, worker, epoch, '1' if an entry was read over an earlier connection (else ''), then per item:
--   entry, id, reply gateway, flags, status (succeeded | failed | expired | cancelled), outcome, ref, and of a failure its full cause
--   (or '').
-- Returns per item 1 won | 0 lost (repeat, cancelled, moved); {-1} if fenced.
-- An entry is deleted only if this worker has read it (XACK answers 1), and after another connection only if it still is
-- that of this request (came_back).
-- Begins with XACK and XDEL, which Redis allows over maxmemory.
local worker, looks = ARGV[2], ARGV[4] ~= ''
if redis.call('HGET', k('worker', worker), 'epoch') ~= ARGV[3] then return {-1} end
local now, stream, out, won = clock(), k('work', worker), {}, {}
count_together()
for i = 5, #ARGV, 8 do
  local is_lost = looks and is_another(stream, ARGV[i], ARGV[i + 1])
  local is_read = not is_lost and redis.call('XACK', stream, ARGV[3], ARGV[i]) == 1
  out[#out + 1] = is_read and redis.call('XDEL', stream, ARGV[i]) or 0
  if out[#out] == 1 then
    won[#won + 1] = ARGV[i]
    count_queued(worker, ARGV[i + 6], -1)
  end
end
write_counted()
if #won > 0 then redis.call('HDEL', k('started', worker), unpack(won)) end
for i = 5, #ARGV, 8 do
  if out[(i - 5) / 8 + 1] == 1 then
    publish({id = ARGV[i + 1], reply = ARGV[i + 2], flags = ARGV[i + 3], model = ARGV[i + 6],
      cause = ARGV[i + 7]}, ARGV[i + 4], worker, ARGV[i + 5], now)
  end
end
return out
