-- drop_kept: drop outcomes that wait to be polled, and dead letters, beyond their budgets, the oldest first.
-- use: keys, constants
-- KEYS[1] prefix. ARGV: now, chunk, bytes for outcomes (0: a quarter of maxmemory, or a GiB if that is not
--   set). Dead letters may take a quarter of it.
-- Returns {outcomes dropped, dead letters dropped}.
-- The tombstone of an outcome stays: a poll is answered `gone`, as after an hour.
local SHARE, WITHOUT, OF_LETTERS, SMALL, REMEMBERED, OUTBOX_MS = 4, 1073741824, 4, 1048576, 60000, 60000
local now, chunk = clock(), tonumber(ARGV[2])
open_with_harmless_write()

local function bytes_of(kind) return tonumber(redis.call('GET', k('kept_bytes', kind)) or 0) end

-- Read once a minute: a few gateways ask twice a second.
local function share_of_redis()
  local known = redis.call('GET', k('kept_bytes', 'budget'))
  if known then return tonumber(known) end
  local most = tonumber(string.match(redis.call('INFO', 'memory'), '\nmaxmemory:(%d+)') or 0)
  local share = most > 0 and math.floor(most / SHARE) or WITHOUT
  redis.call('SET', k('kept_bytes', 'budget'), string.format('%.0f', share), 'PX', REMEMBERED)
  return share
end

-- What becomes of the oldest. ENDED: it expired, or was removed otherwise; LATER: it moves to the end.
local STAYS, ENDED, LATER, DROPPED = 0, 1, 2, 3
local look, drop = {}, {}

-- One that is still to be written to a stream stays for a moment.
function look.outcomes(at, id, over)
  if at + RESULT_TTL_MS <= now then return ENDED end
  if not over then return STAYS end
  local awaited = now - at < OUTBOX_MS and (redis.call('HGET', k('request', id), 'reply_to') or '') ~= ''
  return awaited and LATER or DROPPED
end

function look.letters(_, entry, over)
  if over then return DROPPED end
  if redis.call('LLEN', k('kept', 'letters')) <= DEAD_LETTERS_MAX then return STAYS end
  return #redis.call('XRANGE', DEAD_LETTERS, entry, entry) == 0 and ENDED or LATER
end

function drop.outcomes(id) return redis.call('UNLINK', k('request', id)) end

function drop.letters(entry) return redis.call('XDEL', DEAD_LETTERS, entry) end

local function drop_oldest(kind, most)
  local list, total, dropped = k('kept', kind), k('kept_bytes', kind), 0
  for _ = 1, chunk do
    local head = redis.call('LINDEX', list, 0)
    if not head then break end
    local at, bytes, name = string.match(head, '^(%d+) (%d+) (%S+)$')
    local what = look[kind](tonumber(at), name, bytes_of(kind) > most)
    if what == STAYS then break end
    redis.call('LPOP', list)
    if what == LATER then redis.call('RPUSH', list, head) else redis.call('DECRBY', total, bytes) end
    if what == DROPPED then dropped = dropped + drop[kind](name) end
  end
  if redis.call('EXISTS', list) == 0 then redis.call('DEL', total) end
  return dropped
end

local budget = tonumber(ARGV[3])
local used = bytes_of('outcomes') + bytes_of('letters')
if budget == 0 then budget = used > SMALL and share_of_redis() or WITHOUT end
return {drop_oldest('outcomes', budget), drop_oldest('letters', budget / OF_LETTERS)}
