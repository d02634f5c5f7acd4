-- breaker: a model version that crashes worker processes repeatedly is quarantined.
-- breaker:<ref> holds crashes, `by` (worker, crashes, worker, crashes ...), score, successes since, ok_at
-- (the last success on a worker that it has not crashed), cause, and once it has opened opens, until (ms) and
-- probe_until. After `until` one request at a time is let through to try; one success closes it, one
-- crash opens it again. Holders that it has not crashed go on while it succeeds on such (ok_at).
local PROBE_MS = 30000
local closed, watched = {}, {}

local function crashes_of(ref)
  return tonumber(redis.call('HGET', k('breaker', ref), 'crashes') or 0)
end

-- Crashes by worker, and the workers as a list for people.
local function crashed_workers(by)
  local counts, names = {}, {}
  for worker, count in string.gmatch(by or '', '(%S+) (%d+)') do
    counts[worker] = tonumber(count)
    names[#names + 1] = worker
  end
  return counts, table.concat(names, ', ')
end

-- Returns 'closed' | 'probe' (one request may run, marked by as_probe) | 'open', cause, ms to wait.
local function breaker(ref, now)
  if closed[ref] then return 'closed' end
  local r = redis.call('HMGET', k('breaker', ref), 'until', 'cause', 'probe_until', 'crashes', 'by')
  watched[ref] = r[4] and true
  if not r[1] then
    closed[ref] = true
    return 'closed'
  end
  local opens_at = math.max(tonumber(r[1]), tonumber(r[3] or 0))
  if opens_at <= now then return 'probe' end
  local _, names = crashed_workers(r[5])
  return 'open', 'quarantined this model version crashed workers ' .. r[4] .. ' times (' .. names .. '), the last: '
    .. r[2], opens_at - now
end

-- The workers that must not serve it while the breaker is open, as a table; nil: no holder may.
local function crashed_holders(ref, now)
  local r = redis.call('HMGET', k('breaker', ref), 'ok_at', 'by')
  if tonumber(r[1] or 0) <= now - RECENT_SUCCESS_MS then return nil end
  local crashed = crashed_workers(r[2])
  for _, holder in ipairs(live_holders(ref, now)) do
    if not crashed[holder] then return crashed end
  end
end

-- PROBE closes the breaker when the request succeeds; its record names the model.
local function as_probe(item, now)
  redis.call('HSET', k('breaker', item.model), 'probe_until', now + PROBE_MS)
  item.flags = with_flag(item.flags .. PROBE, KEEP)
end
