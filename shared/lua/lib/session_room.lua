-- session_room: whether the models of sessions fit on the ready workers, and where.

-- Models that policies pin on a worker beside those of sessions (`counted`): bytes, and how many.
local function pinned_bytes(worker, counted)
  local sum, number = 0, 0
  for _, ref in ipairs(redis.call('SMEMBERS', k('holds', worker))) do
    if not counted[ref] and setting_of(ref, 'pin') == 1 then
      local held = redis.call('HGET', k('holders', ref), worker) or ''
      sum, number = sum + (tonumber(string.match(held, '^%a+ (%d+)')) or 0), number + 1
    end
  end
  return sum, number
end

-- Bytes that a ready worker can still give to pinned models, and how many it can take.
local function free_on(worker, counted)
  if facts(worker).ready then
    local pinned, number = pinned_bytes(worker, counted)
    local bytes, most = capacity(worker)
    bytes = bytes - pinned
    if most > 0 and number >= most then bytes = 0 end
    return {worker = worker, bytes = bytes, left = most > 0 and most - number or math.huge}
  end
end

local function free_bytes(counted, now)
  local free = {}
  for _, worker in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, '(' .. now, '+inf')) do
    free[#free + 1] = guarded(worker, free_on, worker, counted)
  end
  return free
end

local function take(bin, model)
  bin.bytes, bin.left = bin.bytes - model.bytes, bin.left - 1
  if bin.left < 1 then bin.bytes = math.min(bin.bytes, 0) end
  return bin.worker
end

-- The rank (health) of the healthiest of these workers for a model; nil if there is none.
local function best_rank(free, ref)
  local best
  for _, bin in ipairs(free) do best = math.min(best or RANKS.sick, rank_of(bin.worker, ref)) end
  return best
end

-- Reserve `model` on the worker that holds or loads it: a sick one, which leaves, only if all are sick. Returns that
-- worker, nil if none does.
local function take_place(free, model)
  local loader, best = redis.call('HGET', k('load', model.ref), 'worker'), best_rank(free, model.ref)
  for _, bin in ipairs(free) do
    local holds = redis.call('HEXISTS', k('holders', model.ref), bin.worker) == 1
    local stays = best == RANKS.sick or rank_of(bin.worker, model.ref) < RANKS.sick
    if stays and (holds or loader == bin.worker) then return take(bin, model) end
  end
end

-- Reserve it on the worker with the most free bytes of the healthiest. Returns that worker, nil if it fits on none;
-- and the most bytes.
local function take_most_free(free, model)
  local best, rank = nil, best_rank(free, model.ref)
  for _, bin in ipairs(free) do
    if rank_of(bin.worker, model.ref) == rank and (not best or bin.bytes > best.bytes) then best = bin end
  end
  local most = best and best.bytes or 0
  return most >= model.bytes and best and take(best, model) or nil, math.max(most, 0)
end

local function largest_first(a, b) return a.bytes > b.bytes or (a.bytes == b.bytes and a.ref < b.ref) end
