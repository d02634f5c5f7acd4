-- sessions: sets of models that stay pinned while their session is alive.
-- session:<id> holds `models` as 'ref bytes ref bytes ...'; pinned:<ref> the ids of its sessions.

local function models_of(text)
  local list = {}
  for ref, bytes in string.gmatch(text or '', '(%S+) (%d+)') do
    list[#list + 1] = {ref = ref, bytes = tonumber(bytes)}
  end
  return list
end

local function end_session(id)
  for _, model in ipairs(models_of(redis.call('HGET', k('session', id), 'models'))) do
    redis.call('SREM', k('pinned', model.ref), id)
  end
  redis.call('DEL', k('session', id))
  return redis.call('ZREM', SESSIONS, id)
end

-- Without a gateway to end a session, its hash expires, and its models are still pinned.
local function unpin_lost(ref)
  for _, id in ipairs(redis.call('SMEMBERS', k('pinned', ref))) do
    if not redis.call('ZSCORE', SESSIONS, id) then redis.call('SREM', k('pinned', ref), id) end
  end
end
