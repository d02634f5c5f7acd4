-- healthy_copy: what to do when every holder of a model is unhealthy.
-- A copy is ordered on a healthy worker, if there is one. Requests wait for it if the holders are sick, which
-- leave; those that are suspect serve on meanwhile, better than nothing. Of suspect holders only a sole one is
-- replaced: where two agree, it is the model.
local function order_healthy(ref, now, holders)
  if redis.call('EXISTS', k('no_capacity', ref)) > 0 then return false end
  local _, soonest, rank = fastest_loader(ref, now, excluding(ref, now, '', 'unhealthy'))
  if not soonest or rank > 0 then
    redis.call('SET', k('no_capacity', ref), holders[1], 'PX', NO_CAPACITY_TTL)
    return false
  end
  order_load(ref, ref .. holders[1], now, {extra = 'unhealthy'})
  return true
end

-- worker: the best holder, and its rank. Returns it, or nil: the request waits for the other copy.
local function unless_sick(ref, worker, rank, now)
  local holders, most = live_holders(ref, now), setting_of(ref, 'max_copies')
  local sick = rank == RANKS.sick
  if not sick and (#holders > 1 or most == 1) or unloadable(ref) then return worker end
  local ordered = redis.call('EXISTS', k('load', ref)) == 1 or order_healthy(ref, now, holders)
  return not (sick and ordered) and worker or nil
end
