-- holders: the workers that hold a model and whose lease has not expired.
local holders_of, load_of, is_live = {}, {}, {}

local function live_holders(ref, now)
  if holders_of[ref] then return holders_of[ref] end
  local live = {}
  for _, worker in ipairs(redis.call('HKEYS', k('holders', ref))) do
    if is_live[worker] == nil then
      is_live[worker] = tonumber(redis.call('ZSCORE', WORKERS, worker) or 0) > now
    end
    if is_live[worker] then live[#live + 1] = worker end
  end
  holders_of[ref] = live
  return live
end

-- The least loaded of the healthiest holders, its queue, and its rank. Never one of `avoided`, a table.
local function least_loaded(ref, now, avoided)
  local best, least, least_rank
  for _, worker in ipairs(live_holders(ref, now)) do
    if not avoided or not avoided[worker] then
      local rank = rank_of(worker, ref)
      load_of[worker] = load_of[worker] or redis.call('XLEN', k('work', worker))
      local less = rank == least_rank and load_of[worker] < least
      if not best or rank < least_rank or less then
        best, least, least_rank = worker, load_of[worker], rank
      end
    end
  end
  return best, least, least_rank
end

-- Live copies that count: a sick worker is about to leave.
local function lasting_copies(ref, now)
  local count = 0
  for _, worker in ipairs(live_holders(ref, now)) do
    if rank_of(worker, ref) < RANKS.sick then count = count + 1 end
  end
  return count
end
