-- free_bytes: what workers can still give to models that are to stay, of those that are looked at. What policies pin on a
-- worker it reports; what sessions have there is reserved (reserved).
local bins, find_worker, take_bytes, healthiest_rank, is_pinned = {}, nil, nil, nil, nil
do
  local COPIES_ASKED, bin_of = 16, {}

  function is_pinned(ref) return setting_of(ref, 'pin') == 1 end

  -- What stays on a worker that does not report it (an older release), from some of its copies: bytes, and how many.
  -- For sessions of such a release nothing is reserved. Not those of `own`.
  local function estimate(worker, own)
    local bytes, models, refs = 0, 0, redis.call('SRANDMEMBER', k('holds', worker), COPIES_ASKED)
    for _, ref in ipairs(refs) do
      local unreserved = not own[ref] and redis.call('EXISTS', k('pinned', ref)) > redis.call('HEXISTS', RESERVED, ref)
      if unreserved or is_pinned(ref) then bytes, models = bytes + bytes_of_copy(ref, worker), models + 1 end
    end
    local times = #refs > 0 and redis.call('SCARD', k('holds', worker)) / #refs or 0
    return math.ceil(bytes * times), math.ceil(models * times)
  end

  -- Bytes that a ready worker can still give to models that stay, and how many it can take.
  local function free_on(worker, own)
    if not facts(worker).ready then return nil end
    local has = capacity_of(worker)
    if not has.pinned then has.pinned, has.pinned_models = estimate(worker, own) end
    local models, bytes = has.pinned_models + has.session_models, has.budget - has.pinned - has.session
    if has.most > 0 and models >= has.most then bytes = 0 end
    return {worker = worker, bytes = bytes, left = has.most > 0 and has.most - models or math.huge}
  end

  -- What a live worker has free, false if it is not ready.
  function find_worker(worker, own)
    if bin_of[worker] == nil then
      bin_of[worker] = guarded(worker, free_on, worker, own) or false
      if bin_of[worker] then
        bins[#bins + 1] = bin_of[worker]
        bin_of[worker].at = #bins
      end
    end
    return bin_of[worker]
  end

  function take_bytes(chosen, model)
    chosen.bytes, chosen.left = chosen.bytes - model.bytes, chosen.left - 1
    if chosen.left < 1 then chosen.bytes = math.min(chosen.bytes, 0) end
    return chosen.worker
  end

  -- The rank (health) of the healthiest worker for a model; nil if there is none.
  function healthiest_rank(ref)
    local best
    for _, other in ipairs(bins) do
      best = math.min(best or RANKS.sick, rank_of(other.worker, ref))
      if best == 0 then break end
    end
    return best
  end
end
