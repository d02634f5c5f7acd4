-- copies: when to order another copy, and which copy may be evicted.
-- One rule for both: a copy is justified while the devices of the other holders have no time for its work.
-- It is ordered if, besides, their queues take longer than a first answer from a new copy.
local SCALE_OUT_FROM = 4        -- shorter queues are not checked: the warm path stays short
local SPARE = 0.7          -- a device that is less busy than this, as a share of time, can take more work
local looked = {}

local function could_be_more(ref, live, now)
  if redis.call('EXISTS', k('load', ref), k('unloadable', ref), k('no_capacity', ref)) > 0 then return false end
  local most = setting_of(ref, 'max_copies')
  if most > 0 and #live >= most then return false end
  return redis.call('ZCOUNT', WORKERS, '(' .. now, '+inf') > #live
end

-- Live workers whose devices are busy, or whose models evict each other, and the holders, of which an
-- unhealthy one may have time: a list of names.
local function without_time(holders, now)
  local list, held = '', table.concat(holders, ' ')
  for _, worker in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, '(' .. now, '+inf')) do
    local has_none = is_contended(worker) or busy_share(worker) >= SPARE
    if has_none or is_among(worker, held) then list = list .. ' ' .. worker end
  end
  return list
end

-- `queued` requests wait on the least loaded holder: order another copy if no holder has time for them
-- and a worker that has could answer sooner. In one call this is checked again at twice the queue.
local function scale_out(ref, worker, queued, now)
  if queued < math.max(SCALE_OUT_FROM, 2 * (looked[ref] or 0)) then return end
  looked[ref] = queued
  local live = live_holders(ref, now)
  for _, holder in ipairs(live) do
    if busy_share(holder) < SPARE and rank_of(holder, ref) == 0 then return end
  end
  local wait = wait_on(worker, queued)
  if wait <= 0 or not could_be_more(ref, live, now) then return end
  local refused = without_time(live, now)
  local _, first_answer, rank = fastest_loader(ref, now, refused)
  if first_answer and rank == 0 and wait > first_answer then
    order_load(ref, ref .. worker, now, {refused = refused, extra = 'scale_out'})
  end
end

-- Why this copy must stay, or nil: 'pinned' (by the API, or the last one of a session) or 'needed'
-- (fewer than the minimum number would be left; or, for a spare copy, the other holders have no time for
-- its `share` of a device).
local function eviction_veto(ref, worker, share, now)
  local live = live_holders(ref, now)
  local others, free = 0, 0
  for _, other in ipairs(live) do
    if other ~= worker and rank_of(other, ref) < RANKS.sick then
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

-- For a gateway's loop and the API: order one more copy if one is missing. Returns whether it was ordered.
local function order_missing(ref, now, why)
  local live = live_holders(ref, now)
  if not could_be_more(ref, live, now) or breaker(ref, now) == 'open' then return false end
  order_load(ref, ref .. #live, now, {refused = table.concat(live, ' '), extra = why})
  return true
end
