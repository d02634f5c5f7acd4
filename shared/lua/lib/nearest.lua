-- nearest: which worker can have a model soonest, and how many copies of it there should be.
-- near:<ref> holds hints, worker -> 'tier epoch': a copy in host memory goes with its process, one on
-- disk does not. known:<ref> holds what the last load from each tier took, in ms.
local NEAR_TTL, KNOWN_TTL = 3600000, 604800000
local EXPECTED = {host = 50, disk = 200, remote = 2000}

-- What the API has set, else what the manifest said when it was last loaded.
local function setting_of(ref, field)
  return tonumber(redis.call('HGET', k('policy', ref), field) or redis.call('HGET', k('known', ref), field)
    or 0) or 0
end

-- Copies that are to be there although nobody asks: a session wants one of each of its models.
local function least_copies(ref)
  local n = setting_of(ref, 'min_copies')
  if redis.call('EXISTS', k('pinned', ref)) == 1 then n = math.max(n, 1) end
  return n
end

local function is_among(worker, list) return string.find(' ' .. list .. ' ', ' ' .. worker .. ' ', 1, true) end

local function ms_from(ref, tier)
  return tonumber(redis.call('HGET', k('known', ref), tier)) or EXPECTED[tier]
end

-- A worker keeps a model in this tier from now on ('' forgets what is noted).
local function note_near(ref, worker, epoch, tier)
  local near = k('near', ref)
  if tier == '' then return redis.call('HDEL', near, worker) end
  redis.call('HSET', near, worker, tier .. ' ' .. epoch)
  redis.call('PEXPIRE', near, NEAR_TTL)
end

-- How long the device of a worker is busy with what is queued there, ms.
local function wait_on(worker, queued)
  return queued * (tonumber(redis.call('HGET', k('worker', worker), 'service') or 0) or 0)
end

-- The live worker that can have `ref` before any other could bring it from remote ('' if there is
-- none), and when: ms. Not one of `refused`.
local function soonest(ref, now, refused)
  local best, least = '', ms_from(ref, 'remote')
  local near = redis.call('HGETALL', k('near', ref))
  for i = 1, #near, 2 do
    local worker, tier, epoch = near[i], string.match(near[i + 1], '^(%a+) (.*)$')
    local lease = tonumber(redis.call('ZSCORE', WORKERS, worker) or 0)
    local own = redis.call('HMGET', k('worker', worker), 'epoch', 'state')
    local there = EXPECTED[tier] and (tier == 'disk' or own[1] == epoch)
    if lease > now and own[2] == 'ready' and there and not is_among(worker, refused) then
      local ms = ms_from(ref, tier) + wait_on(worker, redis.call('XLEN', k('work', worker)))
      if ms < least or (ms == least and worker < best) then best, least = worker, ms end
    end
  end
  return best, least
end
