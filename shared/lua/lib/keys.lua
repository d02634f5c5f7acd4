-- Key names: the Lua twin of shared/keys.py (a test compares the two). KEYS[1] is the cell's prefix.
local P = KEYS[1] .. ':'
local WORKERS, GATEWAYS, DEADLINES = P .. 'workers', P .. 'gateways', P .. 'deadlines'
local PARKED, OUTBOX, DEAD_LETTERS, INGRESS = P .. 'parked', P .. 'outbox', P .. 'dead_letters', P .. 'ingress'
local EPOCH, HEADROOM = P .. 'epoch', P .. 'headroom'
local FAILURES, OUTCOMES, REFUSED_MODELS = P .. 'failures', P .. 'outcomes', P .. 'refused_models'
local MIN_COPIES, SESSIONS, CLOCK = P .. 'min_copies', P .. 'sessions', P .. 'clock'
local UNHEALTHY, DEVICE_CLASSES, WAITING_ORDERS = P .. 'unhealthy', P .. 'device_classes', P .. 'waiting_orders'
local HOUSEKEEPERS, PROTOCOLS, RESERVED = P .. 'housekeepers', P .. 'protocols', P .. 'reserved'
local NOTIFYING, WITHDRAWN = P .. 'notifying', P .. 'withdrawn'
local function k(kind, id) return P .. kind .. ':' .. id end

-- Redis's own clock, ms. In tests ARGV[1] is '@' and a time instead.
local function redis_clock()
  if ARGV[1] ~= '' then return tonumber((string.gsub(ARGV[1], '@', ''))) end
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- The clock of the cell, ms: Redis's, less the leaps that gateways have found (keep_clock). `clock` has 'seen offset
-- ...': until when they have followed it. What Redis's clock shows far from there is a leap or an outage: until a
-- gateway has said which, the clock stands still, so nothing ends too early. (A number in ARGV[1] replaces it in tests.)
-- Also returns the latest that it may be (for what must not end too early), its offset, and whether it stands still.
local FAR_MS, OUTAGE_MS = 1000, 60000
local function clock()
  if ARGV[1] ~= '' and string.sub(ARGV[1], 1, 1) ~= '@' then return tonumber(ARGV[1]), tonumber(ARGV[1]), 0, false end
  local now = redis_clock()
  local seen, offset = string.match(redis.call('GET', CLOCK) or '', '^(%d+) (-?%d+)')
  if not seen then return now, now, 0, false end
  now, seen, offset = now - offset, tonumber(seen), tonumber(offset)
  if now > seen + FAR_MS then return seen, now, offset, true end
  if now < seen - FAR_MS then return seen, seen + OUTAGE_MS, offset, true end
  now = math.max(now, seen)
  return now, now, offset, false
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

-- A whole number as Redis stores it. Redis takes up to half a microsecond to format one that it is given, so those
-- that all requests of a call share are formatted once.
local texts = {}
local function text_of(n)
  texts[n] = texts[n] or string.format('%.0f', n)
  return texts[n]
end
