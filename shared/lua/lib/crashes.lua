-- crashes: charge the death of a device process to the models that ran or loaded, and to the worker.
-- A model is quarantined if distinct workers agree, each with at most PER_WORKER of CRASHES, less one for SUCCESSES
-- requests that it served since (publish). A sole healthy worker convicts it only if it crashed with no other. A
-- worker is suspect if several models crashed it, or one that works elsewhere; until it has been calm.
local CRASHES, PER_WORKER, WINDOW, FIRST, LONGEST = 5, 3, 600000, 10000, 600000
local CALM_MS, BACKOFF_MS, KEPT_WORKERS, KEPT_MODELS, LOOKED_AT = 60000, 10000, 8, 10, 100

-- Note a crash of this worker with models that it ran, or else was loading. A model that crashed no other
-- worker speaks against this one; one that works elsewhere counts twice. Returns whether it is the only model.
local function note_crash(worker, refs)
  local key, against, models = k('crashed', worker), 0, 0
  local crashes = redis.call('HINCRBY', key, 'crashes', 1)
  for ref in pairs(refs) do
    if redis.call('HLEN', key) < KEPT_MODELS then redis.call('HINCRBY', key, ref, 1) end
  end
  for ref, times in pairs(as_table(redis.call('HGETALL', key))) do
    if ref ~= 'crashes' and ref ~= 'suspect' then
      local r = redis.call('HMGET', k('breaker', ref), 'by', 'ok_at')
      local counts, others = crashed_workers(r[1]), 0
      for other in pairs(counts) do others = others + (other ~= worker and 1 or 0) end
      local works = r[2] or (not r[1] and tonumber(times) > 1)  -- its successes have closed the breaker since
      models, against = models + 1, against + (others > 0 and 0 or works and 2 or 1)
    end
  end
  if crashes > 1 and against > 1 then redis.call('HSET', key, 'suspect', '1') end
  redis.call('PEXPIRE', key, CALM_MS)
  return models == 1
end

-- Whether no healthy worker but this one is alive, among the first that are looked at.
local function is_alone(worker, now)
  for _, other in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, '(' .. now, '+inf', 'LIMIT', 0, LOOKED_AT)) do
    if other ~= worker and rank_of(other, '') == 0 then return false end
  end
  return true
end

-- Add a crash to the field `by`. Returns the score and the crashes of this worker.
local function count_crash(key, worker)
  local counts = crashed_workers(redis.call('HGET', key, 'by'))
  local score, number, text = 0, 0, {}
  counts[worker] = (counts[worker] or 0) + 1
  for other, count in pairs(counts) do
    number, score = number + 1, score + math.min(count, PER_WORKER)
    if number <= KEPT_WORKERS or other == worker then text[#text + 1] = other .. ' ' .. count end
  end
  table.sort(text)
  redis.call('HSET', key, 'by', table.concat(text, ' '), 'score', score)
  return score, counts[worker]
end

local function open_breaker(ref, now, again)
  local key = k('breaker', ref)
  local opens = again and tonumber(redis.call('HGET', key, 'opens')) or redis.call('HINCRBY', key, 'opens', 1)
  local pause = math.min(FIRST * 2 ^ math.min(opens - 1, 20), LONGEST)
  redis.call('HSET', key, 'until', now + pause)
  note_refused(ref, now, pause)
  return pause
end

-- retried: a request that has crashed a process before crashed this one. It proves nothing against its model,
-- so the quarantine does not become longer by it. sole: the worker has crashed with no other model.
local function charge_crash(ref, worker, cause, now, retried, sole)
  local key, stays = k('breaker', ref), WINDOW
  local score, own = count_crash(key, worker)
  redis.call('HINCRBY', key, 'crashes', 1)
  redis.call('HSET', key, 'cause', cause)
  redis.call('HDEL', key, 'probe_until')
  local less = math.floor(tonumber(redis.call('HGET', key, 'successes') or 0) / SUCCESSES)
  local opened = redis.call('HEXISTS', key, 'until') == 1
  local convicted = score - less >= CRASHES or sole and own - less >= CRASHES and is_alone(worker, now)
  if opened or convicted then stays = stays + open_breaker(ref, now, opened and retried) end
  redis.call('PEXPIRE', key, stays)
  closed[ref] = nil
  if own > 1 then
    note_failure(ref, worker, now, {backoff = BACKOFF_MS, temporary = '1', scope = 'worker', class = '',
      cause = 'crashed ' .. cause, crash = true})
  end
end
