-- holders: the workers that hold a model and whose lease has not expired.
local holders_of, load_of = {}, {}

local function live_holders(ref, now)
  if holders_of[ref] then return holders_of[ref] end
  local live = {}
  for _, worker in ipairs(redis.call('HKEYS', k('holders', ref))) do
    local lease = redis.call('ZSCORE', WORKERS, worker)
    if lease and tonumber(lease) > now then live[#live + 1] = worker end
  end
  holders_of[ref] = live
  return live
end

local function least_loaded(ref, now)
  local best, least
  for _, worker in ipairs(live_holders(ref, now)) do
    load_of[worker] = load_of[worker] or redis.call('XLEN', k('work', worker))
    if not least or load_of[worker] < least then best, least = worker, load_of[worker] end
  end
  return best, least
end
