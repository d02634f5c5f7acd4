-- sessions: sets of models that stay pinned while their session is alive.
-- session:<id> holds `models` as 'ref bytes ref bytes ...'; pinned:<ref> the ids of its sessions.

local function models_of(text)
  local list = {}
  for ref, bytes in string.gmatch(text or '', '(%S+) (%d+)') do
    list[#list + 1] = {ref = ref, bytes = tonumber(bytes)}
  end
  return list
end

local function models_of_session(id) return models_of(redis.call('HGET', k('session', id), 'models')) end

local function unpin(ref, id)
  redis.call('SREM', k('pinned', ref), id)
  if redis.call('EXISTS', k('pinned', ref)) == 0 then unreserve(ref) end
end

-- Returns 1 if it was open, else 0; and how many models it had.
local function end_session(id)
  local models = models_of_session(id)
  for _, model in ipairs(models) do
    unpin(model.ref, id)
    notify_holders(model.ref, NOTIFIED.some)
  end
  redis.call('DEL', k('session', id))
  return redis.call('ZREM', SESSIONS, id), #models
end

local LOOKED_AT_SESSIONS = 16
-- Without a gateway to end a session, its hash expires, and its models are still pinned.
local function unpin_lost(ref)
  for _, id in ipairs(redis.call('SRANDMEMBER', k('pinned', ref), LOOKED_AT_SESSIONS)) do
    if not redis.call('ZSCORE', SESSIONS, id) then unpin(ref, id) end
  end
end
