-- Key names: the Lua twin of shared/keys.py (a test compares the two). KEYS[1] is the cell's prefix.
local P = KEYS[1] .. ':'
local WORKERS, GATEWAYS, DEADLINES = P .. 'workers', P .. 'gateways', P .. 'deadlines'
local PARKED, OUTBOX, DEAD, INGRESS = P .. 'parked', P .. 'outbox', P .. 'dead', P .. 'ingress'
local EPOCH, ROOM = P .. 'epoch', P .. 'room'
local FAILURES, ENDED, TROUBLED = P .. 'failures', P .. 'ended', P .. 'troubled'
local WANTED, SESSIONS = P .. 'wanted', P .. 'sessions'
local function k(kind, id) return P .. kind .. ':' .. id end

-- The only clock is Redis's; ARGV[1] replaces it in tests. Milliseconds.
local function clock()
  if ARGV[1] ~= '' then return tonumber(ARGV[1]) end
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- Over maxmemory Redis refuses a script whose first write may need memory, and none that has begun to
-- write. What ends, moves or renews what was accepted must go on then, and opens with this.
local function open_with_harmless_write() redis.call('DEL', P .. 'none') end

-- The index of what is unloadable or quarantined just now.
local function note_trouble(ref, now, ms)
  redis.call('ZREMRANGEBYSCORE', TROUBLED, '-inf', now)
  redis.call('ZADD', TROUBLED, now + ms, ref)
  redis.call('PEXPIRE', TROUBLED, math.max(ms, 3600000))
end

-- A flat field-value list as a table.
local function as_table(flat)
  local t = {}
  for i = 1, #flat, 2 do t[flat[i]] = flat[i + 1] end
  return t
end
