-- register: give a worker a new epoch, when what its old one had has been released and placed again.
-- use: keys, constants, changes, queued, grace, report, outcomes, publish, entries, sample, health, holders, model_facts, load_target, blame, cold_queue, order, breaker, bounds, copies, healthy_copy, placement, move, release_worker, protocol_rows, protocol
-- KEYS[1] prefix. ARGV: now, worker, lease ms, max attempts, protocol that it writes, oldest that it
--   reads, budget, then field value pairs of its record (its incarnation among them).
-- Returns the epoch | how much of its old epoch is left (call again) |
--   {a live process, its protocol, the oldest it reads}: the two cannot work together.
local now, worker = clock(), ARGV[2]
local conflict = protocol_conflict(worker, tonumber(ARGV[5]), tonumber(ARGV[6]), now)
if conflict then return conflict end
local how = {attempts = tonumber(ARGV[4]), cause = 'its worker registered again'}
local left = release_worker(worker, how, tonumber(ARGV[7]), now)
if left > 0 then return left end
-- Never the same again, also after a FLUSHALL: at least the time.
local number = math.max(redis.call('INCR', EPOCH), redis_clock())
local epoch = string.format('%.0f', number)
redis.call('SET', EPOCH, epoch)
redis.call('HSET', k('worker', worker), 'epoch', epoch, 'since', now, 'protocol',
  ARGV[5] .. ' ' .. ARGV[6])
for i = 8, #ARGV, 2 do redis.call('HSET', k('worker', worker), ARGV[i], ARGV[i + 1]) end
note_copies_at(worker, 8, now)
note_health(worker, now)
index_class(worker)
note_host(worker, true)
redis.call('ZADD', WORKERS, now + tonumber(ARGV[3]), worker)
note_protocol('worker ' .. worker, ARGV[5] .. ' ' .. ARGV[6], now, tonumber(ARGV[3]))
-- The group is named by the epoch: a fenced process cannot read what is placed for the new one.
redis.call('XGROUP', 'CREATE', k('work', worker), epoch, '0', 'MKSTREAM')
-- An entry id must never come back, not even in a stream that is made anew within one millisecond.
local t = redis.call('TIME')
redis.call('XSETID', k('work', worker), t[1] * 1000 + math.floor(t[2] / 1000) .. '-18446744073709551615')
return epoch
