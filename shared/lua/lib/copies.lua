-- copies: when to order another copy, and which copy may be evicted.
-- One rule for both: a copy is justified while the devices of the other holders have no time for its work.
-- It is ordered if, besides, their queues take longer than a first answer from a new copy.
local SCALE_OUT_FROM = 4        -- shorter queues are not checked: the warm path stays short
local LOOK_AGAIN_MS = 250  -- after no worker was found for a copy that is to share the work
local MOST_LOOKS = 32  -- in one call, of about 70 us each: other models are looked at in the next one
local looked, found_nobody, looks = {}, {}, 0

local function could_be_more(ref, now)
  if redis.call('EXISTS', k('load', ref), k('unloadable', ref)) > 0 then return false end
  if not found_nobody[ref] and redis.call('EXISTS', k('no_capacity', ref)) > 0 then return false end
  local most = setting_of(ref, 'max_copies')
  if most > 0 and live_copies(ref, now) >= most then return false end
  return redis.call('ZCOUNT', WORKERS, '(' .. now, '+inf') > live_copies(ref, now)
end

-- Whether a worker that is looked at has time. In a busy cell each model of a call asks.
local has_one
local function one_has_time(now)
  if has_one ~= nil then return has_one end
  has_one = false
  for _, worker in ipairs(live_workers(now)) do has_one = has_one or facts(worker).has_time end
  return has_one
end

local function has_time_for(ref, holder) return facts(holder).spare > 0 and rank_of(holder, ref) == 0 end

-- `queued` requests wait on the least loaded holder: order another copy if no holder has time for them
-- and a worker that has could answer sooner. In one call this is checked again at twice the queue.
local function scale_out(ref, worker, queued, now)
  if queued < math.max(SCALE_OUT_FROM, 2 * (looked[ref] or 0)) then return end
  looked[ref] = queued
  local wait = wait_on(worker, queued)
  if wait <= 0 or has_time_for(ref, worker) or looks >= MOST_LOOKS or not could_be_more(ref, now) then return end
  looks = looks + 1
  for _, holder in ipairs(live_holders(ref, now)) do
    if has_time_for(ref, holder) then return end
  end
  local first_answer, rank
  if one_has_time(now) then
    local _
    _, first_answer, rank = fastest_loader(ref, now, excluding(ref, now, '', 'scale_out'))
  end
  if first_answer and rank == 0 and wait > first_answer then
    order_load(ref, ref .. worker, now, {extra = 'scale_out'})
  else
    found_nobody[ref] = true
    redis.call('SET', k('no_capacity', ref), worker, 'PX', LOOK_AGAIN_MS)
  end
end

-- Why this copy must stay, or nil: 'pinned' (by the API, or the last one of a session) or 'needed'
-- (fewer than the minimum number would be left; or, for a spare copy, the other holders have no time for
-- its `share` of a device).
local function eviction_veto(ref, worker, share, now)
  local live, free = live_holders(ref, now), 0
  local others = live_copies(ref, now) - (#live < MOST_HOLDERS and 0 or 1)  -- of many it may not be looked at itself
  for _, other in ipairs(live) do
    if other ~= worker and rank_of(other, ref) < RANKS.sick then
      free = free + facts(other).spare
    elseif #live < MOST_HOLDERS or other ~= worker then
      others = others - 1
    end
  end
  if setting_of(ref, 'pin') == 1 then return 'pinned' end
  if others == 0 and redis.call('EXISTS', k('pinned', ref)) == 1 then return 'pinned' end
  if others < least_copies(ref) then return 'needed' end
  local most = setting_of(ref, 'max_copies')
  if most > 0 and others >= most then return nil end
  if share and (others == 0 or share > free) then return 'needed' end
end

-- For a gateway's loop and the API: order one more copy if one is missing. Returns whether it was ordered.
local function order_missing(ref, now, why)
  if not could_be_more(ref, now) or breaker(ref, now) == 'open' then return false end
  order_load(ref, ref .. live_copies(ref, now), now, {extra = why})
  return true
end
