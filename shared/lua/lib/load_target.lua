-- load_target: which worker can load a model soonest, and how many copies of it there should be.
-- warm:<ref> holds hints, worker -> 'tier epoch': a copy in host memory is lost with its process, one on
-- disk is not. stats:<ref> has the duration of the last load from each tier, in ms.
local WARM_TTL, STATS_TTL = 3600000, 604800000
local EXPECTED = {host = 50, disk = 200, remote = 2000}

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

local function ms_from(ref, tier)
  return tonumber(redis.call('HGET', k('stats', ref), tier)) or EXPECTED[tier]
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

-- How long the device of a worker is busy with its queue, ms.
local function wait_on(worker, queued)
  return queued * facts(worker).service_ms
end

-- The live worker that can load `ref` soonest because it has it in host memory or on disk ('' if none is sooner
-- than another from remote), the time to its first answer after its queue, ms (nil: no worker is left), and
-- its rank (health): the healthiest come first. Never one that `is_out(worker)`.
local fastest_loader
do
  -- The tier from which a worker would load a model, by the hint that it left.
  local function tier_by(hint, epoch)
    local tier, of = string.match(hint or '', '^(%a+) (.*)$')
    if tier == 'disk' or (tier == 'host' and of == epoch) then return tier end
    return 'remote'
  end

  -- The sample, and the live workers that left a hint.
  local function candidates(hints, now)
    local names, more = live_workers(now), {}
    for worker in pairs(hints) do
      if not is_sampled[worker] then more[#more + 1] = worker end
    end
    if #more == 0 then return names end
    more = alive(more, now)
    for _, worker in ipairs(names) do more[#more + 1] = worker end
    return more
  end

  function fastest_loader(ref, now, is_out)
    local best, least, least_rank, ms_of = '', nil, nil, {}
    local hints = as_table(redis.call('HRANDFIELD', k('warm', ref), MOST_SAMPLED, 'WITHVALUES'))
    for _, worker in ipairs(candidates(hints, now)) do
      local own = facts(worker)
      if own.ready and not is_out(worker) then
        local tier = tier_by(hints[worker], own.epoch)
        ms_of[tier] = ms_of[tier] or ms_from(ref, tier)
        local ms, rank = ms_of[tier] + wait_on(worker, queue_of(worker)), rank_of(worker, ref)
        if not least or rank < least_rank or (rank == least_rank and ms < least) then
          best, least, least_rank = tier ~= 'remote' and worker or '', ms, rank
        end
      end
    end
    return best, least, least_rank
  end
end
