-- load_target: which worker can have a model soonest, and how many copies of it there should be.
-- warm:<ref> holds hints, worker -> 'tier epoch': a copy in host memory goes with its process, one on
-- disk does not. stats:<ref> holds what the last load from each tier took, in ms.
local WARM_TTL, STATS_TTL = 3600000, 604800000
local EXPECTED = {host = 50, disk = 200, remote = 2000}

-- What the API has set, else what the manifest said when it was last loaded.
local function setting_of(ref, field)
  return tonumber(redis.call('HGET', k('policy', ref), field) or redis.call('HGET', k('stats', ref), field)
    or 0) or 0
end

-- The least number of copies to keep: a session requires one of each of its models.
local function least_copies(ref)
  local n = math.max(setting_of(ref, 'min_copies'), setting_of(ref, 'preload'))
  if redis.call('EXISTS', k('pinned', ref)) == 1 then n = math.max(n, 1) end
  return n
end

local function is_among(worker, list) return string.find(' ' .. list .. ' ', ' ' .. worker .. ' ', 1, true) end

local function ms_from(ref, tier)
  return tonumber(redis.call('HGET', k('stats', ref), tier)) or EXPECTED[tier]
end

-- A worker keeps a model in this tier from now on ('' forgets what is noted).
local function note_warm(ref, worker, epoch, tier)
  local near = k('warm', ref)
  if tier == '' then return redis.call('HDEL', near, worker) end
  redis.call('HSET', near, worker, tier .. ' ' .. epoch)
  for _, other in ipairs(redis.call('HKEYS', near)) do
    if not redis.call('ZSCORE', WORKERS, other) then redis.call('HDEL', near, other) end
  end
  redis.call('PEXPIRE', near, WARM_TTL)
end

-- How long the device of a worker is busy with what is queued there, ms.
local function wait_on(worker, queued)
  return queued * service_ms(worker)
end

-- The tier from which this worker would load `ref`.
local function tier_at(ref, worker, epoch)
  local tier, of = string.match(redis.call('HGET', k('warm', ref), worker) or '', '^(%a+) (.*)$')
  if tier == 'disk' or (tier == 'host' and of == epoch) then return tier end
  return 'remote'
end

-- The live worker that can have `ref` soonest because it has it in a near tier ('' if none is sooner
-- than another would be from remote), and when the first answer can be there: ms, after what is
-- queued there (nil: no worker is left). Not one of `refused`.
local function fastest_loader(ref, now, refused)
  local best, least = '', nil
  for _, worker in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, '(' .. now, '+inf')) do
    local own = redis.call('HMGET', k('worker', worker), 'epoch', 'state')
    if own[2] == 'ready' and not is_among(worker, refused) then
      local tier = tier_at(ref, worker, own[1])
      local ms = ms_from(ref, tier) + wait_on(worker, redis.call('XLEN', k('work', worker)))
      if not least or ms < least then best, least = tier ~= 'remote' and worker or '', ms end
    end
  end
  return best, least
end
