-- loaded_versions: the versions of a model that have been loaded, and not failed since: loaded_versions:<name>, version ->
-- digest, the newest few. The residency settings of a manifest (pin, min_copies) apply to the newest of them.
local LIVE_MOST = 8

-- 'name', version, 'digest'.
local function parts_of(ref)
  local name, version, digest = string.match(ref, '^([^:]+):(%d+):(.+)$')
  return name, tonumber(version), digest
end

local function clear_min_copies(ref)
  if redis.call('EXISTS', k('stats', ref)) == 0 then return end
  redis.call('HSET', k('stats', ref), 'min_copies', '0', 'pin', '0')
end

local function is_replaced(ref)
  local name, version = parts_of(ref)
  for _, other in ipairs(redis.call('HKEYS', k('loaded_versions', name))) do
    if tonumber(other) > version then return true end
  end
end

-- Which version is the newest has changed, and so has what the holders of others are to keep.
local function notify_holders_of_versions(name)
  local flat = redis.call('HGETALL', k('loaded_versions', name))
  for i = 1, #flat, 2 do notify_holders(name .. ':' .. flat[i] .. ':' .. flat[i + 1], NOTIFIED.all) end
end

-- Record that a worker holds this version. It replaces older ones, and a newer one replaces it.
local function note_loaded_version(ref)
  local name, version, digest = parts_of(ref)
  local live, others = k('loaded_versions', name), 0
  local before = redis.call('HGET', live, version)
  if before and before ~= digest then clear_min_copies(name .. ':' .. version .. ':' .. before) end
  redis.call('HSET', live, version, digest)
  redis.call('PEXPIRE', live, STATS_TTL)
  if before ~= digest then notify_holders_of_versions(name) end
  local oldest = version
  local flat = redis.call('HGETALL', live)
  for i = 1, #flat, 2 do
    local other = tonumber(flat[i])
    oldest, others = math.min(oldest, other), others + 1
    if other < version then clear_min_copies(name .. ':' .. flat[i] .. ':' .. flat[i + 1]) end
  end
  if is_replaced(ref) then clear_min_copies(ref) end
  if others > LIVE_MOST then redis.call('HDEL', live, string.format('%d', oldest)) end
end

-- Remove a version that can no longer be loaded.
local function forget_version(ref)
  local name, version, digest = parts_of(ref)
  local live = k('loaded_versions', name)
  if redis.call('HGET', live, version) ~= digest then return end
  redis.call('HDEL', live, version)
  notify_holders_of_versions(name)
end

-- A version that has left the repository: no manifest and no override pins it or asks for copies, and it replaces
-- no older one. A session keeps what it has until it ends.
local function let_go(ref)
  clear_min_copies(ref)
  redis.call('HDEL', k('policy', ref), 'pin', 'min_copies', 'preload')
  notify_holders(ref, NOTIFIED.all)
  forget_version(ref)
end

-- A trial is an order beside serving, to see whether a newer version can be loaded. A version
-- that failed one rests, twice as long each time; stats:<ref> has the number of trials and the end of the rest.
local TRIAL_REST, LONGEST_REST, TRIAL_CRASHES = 10000, 600000, 1

local function rests(ref, now)
  return tonumber(redis.call('HGET', k('stats', ref), 'rests') or 0) > now
end

local function note_trial(ref, now)
  local tried = redis.call('HINCRBY', k('stats', ref), 'tried', 1)
  local rest = math.min(TRIAL_REST * 2 ^ math.min(tried - 1, 20), LONGEST_REST)
  redis.call('HSET', k('stats', ref), 'rests', now + rest)
  redis.call('PEXPIRE', k('stats', ref), STATS_TTL)
end
