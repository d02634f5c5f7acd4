-- copies: when to order another copy, and which copy may go.
-- One rule for both: a copy is worth having while the devices of the others have no time for its work.
-- It is ordered when, besides, what waits for them takes longer than a first answer from a new copy.
local SCALE_OUT_FROM = 4        -- a shorter queue is not looked at: the warm path stays short
local SPARE = 0.7          -- how busy a device may be that still has time, as a share of time
local looked = {}

local function could_be_more(ref, live, now)
  if redis.call('EXISTS', k('load', ref), k('unloadable', ref), k('no_capacity', ref)) > 0 then return false end
  local most = setting_of(ref, 'max_copies')
  if most > 0 and #live >= most then return false end
  return redis.call('ZCOUNT', WORKERS, '(' .. now, '+inf') > #live
end

-- Live workers whose devices have no time, or whose models push each other out: a list of names.
local function without_time(now)
  local list = ''
  for _, worker in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, '(' .. now, '+inf')) do
    if is_contended(worker) or busy_share(worker) >= SPARE then list = list .. ' ' .. worker end
  end
  return list
end

-- `queued` requests wait on the least loaded holder: order another copy if no holder has time for them
-- and a worker that has could answer sooner. In one call it is looked at again at twice the queue.
local function scale_out(ref, worker, queued, now)
  if queued < math.max(SCALE_OUT_FROM, 2 * (looked[ref] or 0)) then return end
  looked[ref] = queued
  local live = live_holders(ref, now)
  for _, holder in ipairs(live) do
    if busy_share(holder) < SPARE then return end
  end
  local wait = wait_on(worker, queued)
  if wait <= 0 or not could_be_more(ref, live, now) then return end
  local refused = without_time(now)  -- the holders are among them
  local _, first_answer = fastest_loader(ref, now, refused)
  if first_answer and wait > first_answer then
    order_load(ref, ref .. worker, now, {refused = refused, extra = 'scale_out'})
  end
end

-- Why this copy must stay, or nil: 'pinned' (by the API, or the last one of a session) or 'needed'
-- (fewer than the least number would be left; or, of a spare one, the others have no time for its
-- `share` of a device).
local function eviction_veto(ref, worker, share, now)
  local live = live_holders(ref, now)
  local others, free = 0, 0
  for _, other in ipairs(live) do
    if other ~= worker then
      others = others + 1
      free = free + math.max(0, SPARE - busy_share(other))
    end
  end
  if setting_of(ref, 'pin') == 1 then return 'pinned' end
  if others == 0 and redis.call('EXISTS', k('pinned', ref)) == 1 then return 'pinned' end
  if others < least_copies(ref) then return 'needed' end
  local most = setting_of(ref, 'max_copies')
  if most > 0 and others >= most then return nil end
  if share and (others == 0 or share > free) then return 'needed' end
end

-- A gateway's loop and the API: one more copy where it is missing. Returns whether it was ordered.
local function order_missing(ref, now, why)
  local live = live_holders(ref, now)
  if not could_be_more(ref, live, now) or breaker(ref, now) == 'open' then return false end
  order_load(ref, ref .. #live, now, {refused = table.concat(live, ' '), extra = why})
  return true
end
