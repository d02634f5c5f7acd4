-- bounds: the limits of place, and the time to retry. limits: work, parked, pending (records of the cell).
local SHORTEST, LONGEST_WAIT = 1000, 60000
local MEMORY_SHARE, LOOK_EVERY = 0.9, 500

local function bounded(ms) return math.floor(math.max(SHORTEST, math.min(LONGEST_WAIT, ms))) end

-- Milliseconds until half of `queued` is served at the rate that workers report (requests per second).
local function until_half(queued, rate)
  if rate <= 0 then return SHORTEST end
  return bounded(queued / rate / 2 * 1000)
end

-- Estimated once in a call of a script: each request of a crowd that is refused asks for it.
local cell_rate
local function rate_of_cell(now)
  cell_rate = cell_rate or of_all(now, function(worker) return facts(worker).completed_per_s end)
  return cell_rate
end

-- A load is assumed to take at least its elapsed time again.
local function until_loaded(ref, now)
  return bounded(now - tonumber(redis.call('HGET', k('load', ref), 'since') or now))
end

-- How many more records the cell may have. Asked for kept requests only: a warm call without one reads nothing.
local function records_left(limits)
  limits.records = limits.records or limits.pending - redis.call('ZCARD', DEADLINES)
  return limits.records
end

local function count_record(limits)
  if limits then limits.records = limits.records - 1 end
end

-- Whether Redis has headroom for `bytes` more below its maxmemory. Read twice a second, counted
-- down between, so that a burst cannot pass.
local function memory_fits(bytes)
  local left = redis.call('DECRBY', HEADROOM, bytes)
  if left == -bytes then
    local info = redis.call('INFO', 'memory')
    local most = tonumber(string.match(info, '\nmaxmemory:(%d+)') or 0)
    left = 2 ^ 50
    if most > 0 then
      left = most * MEMORY_SHARE - tonumber(string.match(info, '\nused_memory:(%d+)')) - bytes
    end
    redis.call('SET', HEADROOM, string.format('%.0f', left), 'PX', LOOK_EVERY)
  end
  return left >= 0
end

-- Of the holders of this rank the least loaded one that takes one more of this model, for one that does not.
local function other_holder(ref, now, limit, rank, avoided)
  local best, least
  for _, worker in ipairs(live_holders(ref, now)) do
    if not (avoided and avoided[worker]) and rank_of(worker, ref) == rank then
      local queued = queue_of(worker)
      if (not least or queued < least) and not has_enough(worker, ref, queued, limit) then
        best, least = worker, queued
      end
    end
  end
  return best
end
