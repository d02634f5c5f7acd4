-- holders: the workers that hold a model and whose lease has not expired. Of many a choice looks at some, at random.
local MOST_HOLDERS = 16
local holders_of, copies_of, load_of, is_live = {}, {}, {}, {}

local function live_holders(ref, now)
  local live = holders_of[ref]
  if live then return live end
  live = {}
  local drawn = redis.call('HRANDFIELD', k('holders', ref), MOST_HOLDERS)
  for _, worker in ipairs(drawn) do
    if is_live[worker] == nil then
      is_live[worker] = tonumber(redis.call('ZSCORE', WORKERS, worker) or 0) > now
    end
    if is_live[worker] then live[#live + 1] = worker end
  end
  holders_of[ref] = live
  copies_of[ref] = #drawn < MOST_HOLDERS and #live or nil
  return live
end

local function bytes_of_copy(ref, worker)
  return tonumber(string.match(redis.call('HGET', k('holders', ref), worker) or '', '^%a+ (%d+)') or 0)
end

-- How many live copies there are, also of those that are not looked at.
local function live_copies(ref, now)
  live_holders(ref, now)
  copies_of[ref] = copies_of[ref] or redis.call('HLEN', k('holders', ref))
  return copies_of[ref]
end

local function queue_of(worker)
  load_of[worker] = load_of[worker] or redis.call('XLEN', k('work', worker))
  return load_of[worker]
end

-- The least loaded of the healthiest holders, its queue, and its rank. Never one of `avoided`, a table.
local function least_loaded(ref, now, avoided)
  local best, least, least_rank
  for _, worker in ipairs(live_holders(ref, now)) do
    if not avoided or not avoided[worker] then
      local rank = rank_of(worker, ref)
      local queued = queue_of(worker)
      local less = rank == least_rank and queued < least
      if not best or rank < least_rank or less then
        best, least, least_rank = worker, queued, rank
      end
    end
  end
  return best, least, least_rank
end

-- Live copies that count: a sick worker is about to leave.
local function lasting_copies(ref, now)
  local count = live_copies(ref, now)
  for _, worker in ipairs(live_holders(ref, now)) do
    if rank_of(worker, ref) == RANKS.sick then count = count - 1 end
  end
  return count
end
