-- session_room: whether the models of a session fit on the ready workers, and where. A sample of the workers is looked at
-- (sample), and those that hold or load its models: it costs as much as the session has models, whatever the cell has.
-- model: ref, bytes. own: its models by ref.
local take_place, take_most_free
do
  local WORKERS_MORE, is_wide = 96, false

  local function look_at(workers, own)
    for _, worker in ipairs(workers) do find_worker(worker, own) end
  end

  -- Where the model is, or comes: on a sick worker, which leaves, only if all are sick. Returns the worker (nil: it is
  -- nowhere), and whether its bytes are counted there: reserved, or pinned.
  function take_place(model, own, now)
    look_at(live_workers(now), own)
    local ref, there = model.ref, nil
    local best, reserved = healthiest_rank(ref), alive({(reservation_of(ref))}, now)[1]
    local function stays(worker)
      local found = find_worker(worker, own)
      return found and (best == RANKS.sick or rank_of(worker, ref) < RANKS.sick) and found
    end
    if reserved and stays(reserved) then return reserved, true end
    for _, holder in ipairs(live_holders(ref, now)) do
      local found = stays(holder)
      if found and (not there or found.at < there.at) then there = found end
    end
    if there and is_pinned(ref) then return there.worker, true end
    local loader = alive({redis.call('HGET', k('load', ref), 'worker') or nil}, now)[1]
    local found = loader and stays(loader)
    if found and (not there or found.at < there.at) then there = found end
    return there and take_bytes(there, model), false
  end

  -- Take bytes of the worker with the most free ones of the healthiest. Returns it, nil if the model fits on none of those that
  -- are looked at; and the most bytes. Before it is refused, more workers are looked at, once.
  function take_most_free(model, own, now)
    local best, rank = nil, healthiest_rank(model.ref)
    for _, other in ipairs(bins) do
      if (not best or other.bytes > best.bytes) and rank_of(other.worker, model.ref) == rank then best = other end
    end
    if best and best.bytes >= model.bytes then return take_bytes(best, model) end
    if is_wide or redis.call('ZCARD', WORKERS) <= MOST_SAMPLED then return nil, best and math.max(best.bytes, 0) or 0 end
    is_wide = true
    look_at(alive(redis.call('ZRANDMEMBER', WORKERS, WORKERS_MORE), now), own)
    return take_most_free(model, own, now)
  end
end

local function largest_first(a, b) return a.bytes > b.bytes or (a.bytes == b.bytes and a.ref < b.ref) end
