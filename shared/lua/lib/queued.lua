-- queued: how many entries of each model are on a worker's stream (queued:<worker>), for the limit of place.
-- Counted in the step that adds or deletes an entry, and anew from the first entry of an empty stream, so
-- a count that another release, or a deleted stream, has left wrong does not last. It is looked at only when
-- the whole stream is as long as the limit.
local MOST_STREAM = 4     -- times the limit of one model: the limit of the stream
local LEAST_SHARE = 0.0625  -- of the limit, for each model on a stream that is full

local together  -- worker -> ref -> change, in a call that writes its counts in the end (count_together)

local function count_queued(worker, ref, n)
  if together then
    local changes = together[worker] or {}
    together[worker] = changes
    changes[ref] = (changes[ref] or 0) + n
    return
  end
  local key = k('queued', worker)
  if redis.call('HINCRBY', key, ref, n) <= 0 then redis.call('HDEL', key, ref) end
end

-- Changes of several models in one read and at most two writes.
local function write_counts(worker, changes)
  local key, refs, more, gone = k('queued', worker), {}, {}, {}
  for ref in pairs(changes) do refs[#refs + 1] = ref end
  for i, before in ipairs(redis.call('HMGET', key, unpack(refs))) do
    local ref = refs[i]
    local n = (tonumber(before or 0) or 0) + changes[ref]
    if n > 0 then
      more[#more + 1], more[#more + 2] = ref, n
    elseif before then
      gone[#gone + 1] = ref
    end
  end
  if more[1] then redis.call('HSET', key, unpack(more)) end
  if gone[1] then redis.call('HDEL', key, unpack(gone)) end
end

-- Between these two counts are kept here: one write for each worker instead of one for each entry.
local function count_together() together = {} end

local function write_counted()
  local all = together
  together = nil
  for worker, changes in pairs(all) do
    local ref, n = next(changes)
    if next(changes, ref) then write_counts(worker, changes) else count_queued(worker, ref, n) end
  end
end

-- How many of this model are on the stream.
local function queued_of(worker, ref)
  local changes = together and together[worker] or {}
  return tonumber(redis.call('HGET', k('queued', worker), ref) or 0) + (changes[ref] or 0)
end

-- Whether a worker with `queued` entries takes no more of this model: it has as many of it as it may have
-- (`limit`), or the stream is full and the model has its least share of it.
local function has_enough(worker, ref, queued, limit)
  if queued < limit then return false end
  local own = queued_of(worker, ref)
  if own >= limit then return true end
  return queued >= MOST_STREAM * limit and own >= math.max(1, math.floor(limit * LEAST_SHARE))
end
