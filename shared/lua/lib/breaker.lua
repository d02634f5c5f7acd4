-- breaker: a model version that crashes worker processes repeatedly is quarantined.
-- breaker:<ref> holds crashes, opens, until (ms), cause and probe_until. After `until` one request at
-- a time is let through to try; one success closes it, one crash opens it for twice as long.
local CRASHES, WINDOW, FIRST, LONGEST, PROBE_MS = 5, 600000, 10000, 600000, 30000
local closed = {}

local function charge_crash(ref, cause, now)
  local key, stays = k('breaker', ref), WINDOW
  local crashes = redis.call('HINCRBY', key, 'crashes', 1)
  redis.call('HSET', key, 'cause', cause)
  redis.call('HDEL', key, 'probe_until')
  if crashes >= CRASHES then
    local opens = redis.call('HINCRBY', key, 'opens', 1)
    local pause = math.min(FIRST * 2 ^ math.min(opens - 1, 20), LONGEST)
    redis.call('HSET', key, 'until', now + pause)
    stays = stays + pause
    note_refused(ref, now, pause)
  end
  redis.call('PEXPIRE', key, stays)
  closed[ref] = nil
end

local function crashes_of(ref)
  return tonumber(redis.call('HGET', k('breaker', ref), 'crashes') or 0)
end

-- Returns 'closed' | 'probe' (one request may run, marked by as_probe) | 'open', cause, ms to wait.
local function breaker(ref, now)
  if closed[ref] then return 'closed' end
  local r = redis.call('HMGET', k('breaker', ref), 'until', 'cause', 'probe_until', 'crashes')
  if not r[1] then
    closed[ref] = true
    return 'closed'
  end
  local opens_at = math.max(tonumber(r[1]), tonumber(r[3] or 0))
  if opens_at <= now then return 'probe' end
  return 'open', 'quarantined this model version crashed workers ' .. r[4] .. ' times, the last: '
    .. r[2], opens_at - now
end

-- PROBE closes the breaker when the request succeeds; its record names the model.
local function as_probe(item, now)
  redis.call('HSET', k('breaker', item.model), 'probe_until', now + PROBE_MS)
  item.flags = with_flag(item.flags .. PROBE, KEEP)
end
