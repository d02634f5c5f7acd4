-- health: how far a worker is passed over: 0 healthy, 1 suspect (or calls of this model fail there), 2 sick.
-- unhealthy: worker -> 'suspect', 'sick' or 'healthy', then the refs whose calls fail there. It is absent
-- while all are healthy, so that a call of `place` pays one read. Unknown words of a newer release are healthy.
local RANKS, FAILING_MOST = {healthy = 0, suspect = 1, sick = 2}, 32
local all_healthy, health_of = nil, {}

local function are_healthy()
  if all_healthy == nil then all_healthy = redis.call('EXISTS', UNHEALTHY) == 0 end
  return all_healthy
end

local function rank_of(worker, ref)
  if are_healthy() then return 0 end
  local said = health_of[worker] or redis.call('HGET', UNHEALTHY, worker) or ''
  health_of[worker] = said
  local rank = RANKS[string.match(said, '^%S*')] or 0
  if rank == 0 and string.find(said .. ' ', ' ' .. ref .. ' ', 1, true) then return 1 end
  return rank
end

-- The refs of the report field `failing`, a JSON list, each after a blank.
local function failing_refs(json)
  if not json or json == '[]' then return '' end
  local read, refs = pcall(cjson.decode, json)
  if not read or type(refs) ~= 'table' then return '' end
  local text = ''
  for i = 1, math.min(#refs, FAILING_MOST) do
    if type(refs[i]) == 'string' then text = text .. ' ' .. refs[i] end
  end
  return text
end

-- Enter what a worker reports. Its crashes make it suspect too (crashes). A suspect worker may claim one load
-- in a while, or it could never show that it is well again: its record has the time of the last (`trial`).
local function note_health(worker, now)
  local health, failing = reported_health(worker)
  local refs = failing_refs(failing)
  if not RANKS[health] then health = 'healthy' end
  if health == 'healthy' and redis.call('HEXISTS', k('crashed', worker), 'suspect') == 1 then
    health = 'suspect'
  end
  if health == 'suspect' and not trial_load_at(worker) then set_trial_load(worker, now) end
  if health == 'healthy' and refs == '' then
    if redis.call('HDEL', UNHEALTHY, worker) == 1 then set_trial_load(worker, nil) end
    return
  end
  redis.call('HSET', UNHEALTHY, worker, health .. refs)
end
