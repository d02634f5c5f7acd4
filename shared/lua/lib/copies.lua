-- copies: when to order another copy, and which copy may go.
-- One rule for both: a copy is worth having while what waits on the others, or would wait, takes longer
-- than having it takes.
local SPILL_FROM = 4        -- a shorter queue is not looked at: the warm path stays short
local SPARE = 0.7          -- how busy the devices of the other holders may become
local looked = {}

local function could_be_more(ref, live, now)
  if redis.call('EXISTS', k('load', ref), k('unloadable', ref), k('crowded', ref)) > 0 then return false end
  local most = setting_of(ref, 'max_copies')
  if most > 0 and #live >= most then return false end
  return redis.call('ZCOUNT', WORKERS, '(' .. now, '+inf') > #live
end

-- `queued` requests wait on the least loaded holder: order another copy if it could answer sooner.
local function spill(ref, worker, queued, now)
  if looked[ref] or queued < SPILL_FROM then return end
  looked[ref] = true
  local live = live_holders(ref, now)
  local wait = wait_on(worker, queued)
  if wait <= 0 or not could_be_more(ref, live, now) then return end
  local holders = table.concat(live, ' ')
  local _, first_answer = soonest(ref, now, holders)
  if wait > first_answer then
    order_load(ref, ref .. worker, now, {refused = holders, extra = 'spill'})
  end
end

-- Why this copy must stay, or nil: 'pinned' (by the API, or the last one of a session) or 'needed'
-- (fewer than the least number would be left; or, of a spare one, the others have no time for its
-- `share` of a device).
local function must_stay(ref, worker, share, now)
  local live = live_holders(ref, now)
  local others, free = 0, 0
  for _, other in ipairs(live) do
    if other ~= worker then
      others = others + 1
      local busy = tonumber(redis.call('HGET', k('worker', other), 'busy') or 0) or 0
      free = free + math.max(0, SPARE - busy)
    end
  end
  if setting_of(ref, 'pin') == 1 then return 'pinned' end
  if others == 0 and redis.call('EXISTS', k('pinned', ref)) == 1 then return 'pinned' end
  if others < setting_of(ref, 'min_copies') then return 'needed' end
  if share and (others == 0 or share > free) then return 'needed' end
end

-- A gateway's loop and the API: one more copy where it is missing. Returns whether it was ordered.
local function order_missing(ref, now, why)
  local live = live_holders(ref, now)
  if not could_be_more(ref, live, now) or breaker(ref, now) == 'open' then return false end
  order_load(ref, ref .. #live, now, {refused = table.concat(live, ' '), extra = why})
  return true
end
