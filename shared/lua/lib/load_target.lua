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
-- its rank (health): the healthiest come first. Never one that `is_out(worker)`, which holds of `none`.
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

  -- The shortest wait of a ready worker, ms (false: there is none). For a crowd of cold models it is looked for once.
  local shortest_wait
  local function first_free(now)
    if shortest_wait ~= nil then return shortest_wait end
    shortest_wait = false
    for _, worker in ipairs(live_workers(now)) do
      local wait = facts(worker).ready and wait_on(worker, queue_of(worker))
      if wait and (not shortest_wait or wait < shortest_wait) then shortest_wait = wait end
    end
    return shortest_wait
  end

  function fastest_loader(ref, now, is_out, none)
    local best, least, least_rank, ms_of = '', nil, nil, {}
    local hints = as_table(redis.call('HRANDFIELD', k('warm', ref), MOST_SAMPLED, 'WITHVALUES'))
    if none and not next(hints) and are_healthy() then
      local wait = first_free(now)
      if wait then return '', wait + ms_from(ref, 'remote'), 0 end
      return ''
    end
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
