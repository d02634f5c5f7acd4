-- open_session: pin a set of models until the session is closed or expires; refused if it cannot fit.
-- use: keys, constants, changes, guarded, report, sample, health, holders, model_facts, load_target, blame, cold_queue, order, breaker, copies, reserved, sessions, free_bytes, session_room
-- KEYS[1] prefix. ARGV: now, id, ttl ms, most sessions, then ref and bytes of each model.
-- Returns {'open', expiry ms} | {'full', ref that does not fit, its bytes, the most bytes left on one
--   worker} | {'too_many', sessions} | {'exists', expiry ms} (the same id: a repeat).
-- It fits if models that a ready worker holds or loads stay there, and the rest, largest first, fits beside them
--   on the healthiest workers that are looked at. What other sessions have is reserved, and stays as it is.
local now, id = clock(), ARGV[2]
local known = redis.call('ZSCORE', SESSIONS, id)
if known and tonumber(known) > now then return {'exists', known} end
if known then end_session(id) end
local count = redis.call('ZCARD', SESSIONS)
if count >= tonumber(ARGV[4]) then return {'too_many', tostring(count)} end
local own, all, text = {}, {}, {}
for i = 5, #ARGV, 2 do
  local model = {ref = ARGV[i], bytes = tonumber(ARGV[i + 1])}
  if not own[model.ref] then all[#all + 1] = model end
  own[model.ref] = own[model.ref] or model
  text[#text + 1] = ARGV[i] .. ' ' .. ARGV[i + 1]
end
table.sort(all, largest_first)
local chosen, is_counted = {}, {}
for _, model in ipairs(all) do chosen[model.ref], is_counted[model.ref] = take_place(model, own, now) end
for _, model in ipairs(all) do
  if not chosen[model.ref] then
    local worker, most = take_most_free(model, own, now)
    if not worker then return {'full', model.ref, tostring(model.bytes), tostring(most)} end
    chosen[model.ref] = worker
  end
end
local expiry = now + tonumber(ARGV[3])
redis.call('HSET', k('session', id), 'models', table.concat(text, ' '), 'ttl', ARGV[3])
redis.call('PEXPIRE', k('session', id), tonumber(ARGV[3]) + STALL_SPARE_MS)
redis.call('ZADD', SESSIONS, expiry, id)
for _, model in ipairs(all) do
  local ref = model.ref
  if not is_counted[ref] then reserve(ref, chosen[ref], model.bytes) end
  redis.call('SADD', k('pinned', ref), id)
  notify_holders(ref, NOTIFIED.some)
  redis.call('SADD', MIN_COPIES, ref)
  local held = lasting_copies(ref, now) > 0 or redis.call('HEXISTS', k('holders', ref), chosen[ref]) == 1
  local missing = not held and redis.call('EXISTS', k('load', ref)) == 0
  if missing and breaker(ref, now) ~= 'open' and not unloadable(ref) then
    order_load(ref, ref .. id, now, {extra = 'session', worker = chosen[ref]})
  end
end
return {'open', tostring(expiry)}
