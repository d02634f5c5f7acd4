-- load_target: which worker can load a model soonest. stats:<ref> has the duration of the last load from each tier, ms.
local EXPECTED = {host = 50, disk = 200, remote = 2000}

local function ms_from(ref, tier)
  return tonumber(redis.call('HGET', k('stats', ref), tier)) or EXPECTED[tier]
end

-- How long the device of a worker is busy with its queue, ms.
local function wait_on(worker, queued)
  return queued * facts(worker).service_ms
end

-- The live worker that can load `ref` soonest because it has it in host memory or on disk ('' if none is sooner
-- than another from remote), the time to its first answer after its queue, ms (nil: no worker is left), and
-- its rank (health): the healthiest come first. Never one that `is_out(worker)`.
local fastest_loader
do
  -- The tier from which a worker would load a model, by the hint that it left.
  local function tier_by(hint, epoch)
    local tier, of = string.match(hint or '', '^(%a+) (.*)$')
    if tier == 'disk' or (tier == 'host' and of == epoch) then return tier end
    return 'remote'
  end

  -- The sample, and the live workers that left a hint.
  local function candidates(hints, now)
    local names, more = live_workers(now), {}
    for worker in pairs(hints) do
      if not is_sampled[worker] then more[#more + 1] = worker end
    end
    if #more == 0 then return names end
    more = alive(more, now)
    for _, worker in ipairs(names) do more[#more + 1] = worker end
    return more
  end

  function fastest_loader(ref, now, is_out)
    local best, least, least_rank, ms_of = '', nil, nil, {}
    local hints = as_table(redis.call('HRANDFIELD', k('warm', ref), MOST_SAMPLED, 'WITHVALUES'))
    for _, worker in ipairs(candidates(hints, now)) do
      local own = facts(worker)
      if own.ready and not is_out(worker) then
        local tier = tier_by(hints[worker], own.epoch)
        ms_of[tier] = ms_of[tier] or ms_from(ref, tier)
        local ms, rank = ms_of[tier] + wait_on(worker, queue_of(worker)), rank_of(worker, ref)
        if not least or rank < least_rank or (rank == least_rank and ms < least) then
          best, least, least_rank = tier ~= 'remote' and worker or '', ms, rank
        end
      end
    end
    return best, least, least_rank
  end
end
