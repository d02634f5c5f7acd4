-- model_facts: the settings of a model version, and where copies of it are warm or leave.
-- warm:<ref> holds hints, worker -> 'tier epoch': a copy in host memory is lost with its process, one on
-- disk is not.
local WARM_TTL, STATS_TTL = 3600000, 604800000

-- The override of the API, else the manifest's value at its last load.
local function setting_of(ref, field)
  return tonumber(redis.call('HGET', k('policy', ref), field) or redis.call('HGET', k('stats', ref), field)
    or 0) or 0
end

-- The minimum number of copies to keep: a session requires one of each of its models.
local function least_copies(ref)
  local n = math.max(setting_of(ref, 'min_copies'), setting_of(ref, 'preload'))
  if redis.call('EXISTS', k('pinned', ref)) == 1 then n = math.max(n, 1) end
  return n
end

-- The names of a list, each after a blank, as a table.
local function names_in(list)
  local names = {}
  for name in string.gmatch(list, '%S+') do names[name] = true end
  return names
end

-- Note that a worker has a model in this tier from now on ('' deletes the note).
local function note_warm(ref, worker, epoch, tier)
  local warm = k('warm', ref)
  if tier == '' then return redis.call('HDEL', warm, worker) end
  redis.call('HSET', warm, worker, tier .. ' ' .. epoch)
  for _, other in ipairs(redis.call('HRANDFIELD', warm, MOST_SAMPLED)) do
    if not redis.call('ZSCORE', WORKERS, other) then redis.call('HDEL', warm, other) end
  end
  redis.call('PEXPIRE', warm, WARM_TTL)
end

-- Note that a copy takes no new requests and is not freed yet; nil: it is, or takes requests again. The worker deletes
-- the note itself when it has freed the copy. With another epoch it means nothing: that process has died.
local LEAVING_TTL = 7200000  -- longer than any request may run
local function note_leaving(ref, worker, epoch)
  local key, field = k('leaving', string.match(ref, '^[^:]+')), ref .. ' ' .. worker
  if not epoch then return redis.call('HDEL', key, field) end
  redis.call('HSET', key, field, epoch)
  redis.call('PEXPIRE', key, LEAVING_TTL)
end

-- Why the last load failed, if that was recent, and whether the cause is temporary.
local function unloadable(ref)
  local why = redis.call('GET', k('unloadable', ref))
  local passing = why and string.sub(why, 1, 1) == '~'
  return passing and string.sub(why, 2) or why, passing
end
