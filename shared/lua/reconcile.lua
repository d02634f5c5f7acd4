-- reconcile: end sessions that have expired, and order the missing copies of models with a minimum number.
-- use: keys, constants, changes, guarded, grace, report, sample, health, holders, model_facts, load_target, blame, cold_queue, order, breaker, copies, reserved, sessions
-- KEYS[1] prefix. ARGV: now, budget: of the models of sessions that end, and of orders (ORDER_UNITS, order).
-- Returns {sessions ended, copies ordered, {errors of single sessions and models}}.
local now, ended, ordered, unpinned, budget = clock(), 0, 0, 0, tonumber(ARGV[2])
local most = 2 * redis.call('ZCOUNT', WORKERS, '(' .. now, '+inf')
open_with_harmless_write()
local grace = grace_of(now)

local function end_late(id)
  local ttl = grace and redis.call('HGET', k('session', id), 'ttl')
  if ttl then  -- Redis was away: its client could not keep it
    redis.call('ZADD', SESSIONS, now + tonumber(ttl), id)
    redis.call('PEXPIRE', k('session', id), ttl + STALL_SPARE_MS)
  else
    local was_open, models = end_session(id)
    ended, unpinned = ended + was_open, unpinned + models
  end
end

-- For what sessions pin bytes are reserved where it is held: it may have moved, or an older release has opened the session.
-- A copy that a policy pins needs none.
local function keep_reserved(ref)
  if redis.call('EXISTS', k('pinned', ref)) == 0 or setting_of(ref, 'pin') == 1 then return unreserve(ref) end
  local worker, bytes = reservation_of(ref)
  if worker and redis.call('HEXISTS', k('holders', ref), worker) == 1 then return end
  for _, holder in ipairs(live_holders(ref, now)) do
    if rank_of(holder, ref) < RANKS.sick then return reserve(ref, holder, bytes or bytes_of_copy(ref, holder)) end
  end
end

-- Returns true if enough is ordered.
local function keep_copies(ref)
  unpin_lost(ref)
  keep_reserved(ref)
  local least = least_copies(ref)
  redis.call('PEXPIRE', k('stats', ref), STATS_TTL)  -- with a minimum number of copies they do not expire
  if least == 0 then
    redis.call('SREM', MIN_COPIES, ref)
  elseif redis.call('LLEN', COLD_QUEUE) > most then
    return true  -- loads with waiting requests have precedence
  elseif lasting_copies(ref, now) < least and order_missing(ref, now, 'min_copies') then
    ordered = ordered + 1
  end
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', SESSIONS, '-inf', now, 'LIMIT', 0, budget)) do
  if unpinned >= budget then break end
  guarded(id, end_late, id)
end
guarded('notifying', notify_next)
local refs = redis.call('SRANDMEMBER', MIN_COPIES, budget)
table.sort(refs)
for _, ref in ipairs(refs) do
  if work_done(unpinned) >= budget or guarded(ref, keep_copies, ref) then break end
end
return {ended, ordered, errors}
