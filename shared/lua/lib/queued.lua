-- queued: how many entries of each model are on a worker's stream (queued:<worker>), for the limit of place.
-- Counted in the step that adds or deletes an entry, and anew from the first entry of an empty stream, so
-- a count that another release, or a deleted stream, has left wrong does not last. It is looked at only when
-- the whole stream is as long as the limit.
local MOST_STREAM = 4     -- times the limit of one model: the limit of the stream
local LEAST_SHARE = 0.0625  -- of the limit, for each model on a stream that is full

local function count_queued(worker, ref, n)
  local key = k('queued', worker)
  if redis.call('HINCRBY', key, ref, n) <= 0 then redis.call('HDEL', key, ref) end
end

-- Whether a worker with `queued` entries takes no more of this model: it has as many of it as it may have
-- (`limit`), or the stream is full and the model has its least share of it.
local function has_enough(worker, ref, queued, limit)
  if queued < limit then return false end
  local own = tonumber(redis.call('HGET', k('queued', worker), ref) or 0)
  if own >= limit then return true end
  return queued >= MOST_STREAM * limit and own >= math.max(1, math.floor(limit * LEAST_SHARE))
end
