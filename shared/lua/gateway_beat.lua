-- gateway_beat: renew a gateway's lease, and return to the doors what dead gateways had read and not finished.
-- use: keys, constants, grace, protocol_rows, protocol, housekeepers, doors, report, bounds
-- KEYS[1] prefix. ARGV: now, gateway, lease ms, chunk, protocol that it writes, oldest that it reads.
-- The failures that are to be logged are read like a door.
-- Returns {the number of door entries returned from dead gateways (a move is delete + new entry; no gateway
--   is dead for one lease after Redis was away), 1 if this gateway keeps house for the cell, else 0,
--   Redis's clock, 1 if the cell's clock follows it (else any gateway explains why: keep_clock), 1 | 0 Redis is
--   full: requests are refused} |
--   {a live process, its protocol, the oldest it reads}: the two cannot work together, nothing is changed.
local now, _, _, stands_still = clock()
local gateway, moved = ARGV[2], 0
-- A gateway without a lease may only be disconnected: replies for its callers outlive the lease.
local OUTAGE = 60000
local lease = tonumber(redis.call('ZSCORE', GATEWAYS, gateway) or 0)
local conflict = lease <= now and protocol_conflict(gateway, tonumber(ARGV[5]), tonumber(ARGV[6]), now)
if conflict then return conflict end
open_with_harmless_write()
local own = tonumber(ARGV[3])
redis.call('ZADD', GATEWAYS, now + own, gateway)
local replies = k('replies', gateway)
if redis.call('EXISTS', replies, replies .. UNREAD) == 0 then redis.call('XADD', replies, '*', 'id', '') end
redis.call('PEXPIRE', replies, own + LEAP_SPARE_MS)
redis.call('SET', k('gateway', gateway), ARGV[5] .. ' ' .. ARGV[6], 'PX', own + OUTAGE)
note_protocol('gateway ' .. gateway, ARGV[5] .. ' ' .. ARGV[6], now, own)
for _, door in ipairs({INGRESS, OUTBOX, FAILURES}) do ensure_group(door) end

local function is_dead(name)
  local lease = redis.call('ZSCORE', GATEWAYS, name)
  return not lease or tonumber(lease) <= now
end

local keeps = keeps_house(gateway, now)
local grace, kept = grace_of(now)
local function answer()
  local follows = kept and not stands_still
  return {moved, keeps and 1 or 0, redis_clock(), follows and 1 or 0, memory_fits(0) and 1 or 0}
end
if grace or not kept or not keeps then return answer() end
-- By consumers, not by the list of gateways: a removed gateway whose read was blocked may have read more.
local left = 0
for _, door in ipairs({INGRESS, OUTBOX, FAILURES}) do
  for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', door, DOOR_GROUP)) do
    if is_dead(consumer[2]) then
      local back, more = return_entries(door, consumer[2], ARGV[4])
      moved, left = moved + back, left + more
    end
  end
end
if left == 0 then
  for _, dead in ipairs(redis.call('ZRANGEBYSCORE', GATEWAYS, '-inf', now, 'LIMIT', 0, ARGV[4])) do
    redis.call('PEXPIRE', k('replies', dead), OUTAGE)
    redis.call('ZREM', GATEWAYS, dead)
  end
end
return answer()
