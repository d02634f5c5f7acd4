-- Key names: the Lua twin of shared/keys.py (a test compares the two). KEYS[1] is the cell's prefix.
local P = KEYS[1] .. ':'
local WORKERS, GATEWAYS, DEADLINES = P .. 'workers', P .. 'gateways', P .. 'deadlines'
local PARKED, OUTBOX, DEAD_LETTERS, INGRESS = P .. 'parked', P .. 'outbox', P .. 'dead_letters', P .. 'ingress'
local EPOCH, HEADROOM = P .. 'epoch', P .. 'headroom'
local FAILURES, OUTCOMES, REFUSED_MODELS = P .. 'failures', P .. 'outcomes', P .. 'refused_models'
local MIN_COPIES, SESSIONS, STALL = P .. 'min_copies', P .. 'sessions', P .. 'stall'
local UNHEALTHY, HOUSEKEEPERS = P .. 'unhealthy', P .. 'housekeepers'
local function k(kind, id) return P .. kind .. ':' .. id end

-- The only clock is Redis's; ARGV[1] replaces it in tests. Milliseconds.
local function clock()
  if ARGV[1] ~= '' then return tonumber(ARGV[1]) end
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- Over maxmemory Redis refuses a script whose first write may need memory, and none that has started to
-- write. Scripts that end, move or renew accepted requests must work then, and open with this.
local function open_with_harmless_write() redis.call('DEL', P .. 'none') end

-- The index of models that are unloadable or quarantined now.
local function note_refused(ref, now, ms)
  redis.call('ZREMRANGEBYSCORE', REFUSED_MODELS, '-inf', now)
  redis.call('ZADD', REFUSED_MODELS, now + ms, ref)
  redis.call('PEXPIRE', REFUSED_MODELS, math.max(ms, 3600000))
end

-- Count what is kept until `drop_kept` drops it. kind: 'outcomes' | 'letters'; name: an id, or an entry.
local function count_kept(kind, name, bytes, now)
  redis.call('RPUSH', k('kept', kind), string.format('%.0f %.0f %s', now, bytes, name))
  redis.call('INCRBY', k('kept_bytes', kind), bytes)
end

-- A flat field-value list as a table.
local function as_table(flat)
  local t = {}
  for i = 1, #flat, 2 do t[flat[i]] = flat[i + 1] end
  return t
end
