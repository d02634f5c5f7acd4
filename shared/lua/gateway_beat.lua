-- gateway_beat: renew a gateway's lease, and return to the doors what dead gateways had read and not finished.
-- use: keys, constants, grace, protocol, housekeepers
-- KEYS[1] prefix. ARGV: now, gateway, lease ms, chunk, protocol that it writes, oldest that it reads.
-- The failures that are to be logged are read like a door.
-- Returns {the number of door entries returned from dead gateways (a move is delete + new entry; no gateway
--   is dead for one lease after Redis was away), 1 if this gateway keeps house for the cell, else 0} |
--   {a live process, its protocol, the oldest it reads}: the two cannot work together, nothing is changed.
local now, gateway, moved = clock(), ARGV[2], 0
-- A gateway without a lease may only be disconnected: replies for its callers outlive the lease.
local OUTAGE = 60000
local MOST_FIELDS = 100 -- far more than a request has; Lua's unpack fails at some thousands
-- The stream may be there without its group: a producer came first, or the group was destroyed.
local function ensure_group(door)
  local groups = redis.call('EXISTS', door) == 1 and redis.call('XINFO', 'GROUPS', door) or {}
  for _, group in ipairs(groups) do
    if group[2] == DOOR_GROUP then return end
  end
  redis.call('XGROUP', 'CREATE', door, DOOR_GROUP, '0', 'MKSTREAM')
end

local function put_back(door, e)
  -- (A door whose last id has been used accepts no entries: then the entry stays.)
  if #e[2] <= 2 * MOST_FIELDS then
    if redis.pcall('XADD', door, '*', unpack(e[2])).err then return false end
    moved = moved + 1
    return true
  end
  redis.call('XADD', DEAD_LETTERS, 'MAXLEN', DEAD_LETTERS_MAX, '*', 'kind', 'entry', 'entry', e[1], 'cause',
    'invalid has ' .. #e[2] / 2 .. ' fields')
  return true
end

local lease = tonumber(redis.call('ZSCORE', GATEWAYS, gateway) or 0)
local conflict = lease <= now and protocol_conflict(gateway, tonumber(ARGV[5]), tonumber(ARGV[6]), now)
if conflict then return conflict end
open_with_harmless_write()
local own = tonumber(ARGV[3])
redis.call('ZADD', GATEWAYS, now + own, gateway)
local replies = k('replies', gateway)
if redis.call('EXISTS', replies) == 0 then redis.call('XADD', replies, '*', 'id', '') end
redis.call('PEXPIRE', replies, own + STALL_SPARE_MS)
redis.call('SET', k('gateway', gateway), ARGV[5] .. ' ' .. ARGV[6], 'PX', own + OUTAGE)
note_protocol('gateway ' .. gateway, ARGV[5] .. ' ' .. ARGV[6], now, own)
for _, door in ipairs({INGRESS, OUTBOX, FAILURES}) do ensure_group(door) end

local function is_dead(name)
  local lease = redis.call('ZSCORE', GATEWAYS, name)
  return not lease or tonumber(lease) <= now
end

local function return_entries(door, name)
  for _, p in ipairs(redis.call('XPENDING', door, DOOR_GROUP, '-', '+', ARGV[4], name)) do
    local e = redis.call('XRANGE', door, p[1], p[1])[1]
    if not e or put_back(door, e) then
      redis.call('XDEL', door, p[1])
      redis.call('XACK', door, DOOR_GROUP, p[1])
    end
  end
  if #redis.call('XPENDING', door, DOOR_GROUP, '-', '+', 1, name) > 0 then return 1 end
  redis.call('XGROUP', 'DELCONSUMER', door, DOOR_GROUP, name)
  return 0
end

local keeps = keeps_house(gateway, now)
local grace, kept = grace_of(now)
if grace or not kept or not keeps then return {0, keeps and 1 or 0} end
-- By consumers, not by the list of gateways: a removed gateway whose read was blocked may have read more.
local left = 0
for _, door in ipairs({INGRESS, OUTBOX, FAILURES}) do
  for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', door, DOOR_GROUP)) do
    if is_dead(consumer[2]) then left = left + return_entries(door, consumer[2]) end
  end
end
if left == 0 then
  for _, dead in ipairs(redis.call('ZRANGEBYSCORE', GATEWAYS, '-inf', now)) do
    redis.call('PEXPIRE', k('replies', dead), OUTAGE)
    redis.call('ZREM', GATEWAYS, dead)
  end
end
return {moved, 1}
