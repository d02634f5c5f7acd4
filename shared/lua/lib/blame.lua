-- blame: which workers could not load a model lately. A failed load is charged to its worker first.
-- failed_on:<ref> holds worker -> 'until times temporary scope parent', then on lines of their own its device
-- class and the cause. Until then this worker is not asked again; with each time it is twice as long.
local KEPT_FAILURES, LONGEST_BACKOFF = 32, 600000
local FAILURE = '^(%d+) (%d+) (%S+) (%S+) ?(%S*)\n([^\n]*)\n(.*)$'

-- By worker, also when the back-off is over. One with another parent process was started again, and begins anew.
local function failures_of(ref)
  local flat, found = redis.call('HGETALL', k('failed_on', ref)), {}
  for i = 1, #flat, 2 do
    local ends, times, temporary, scope, before, class = string.match(flat[i + 1], FAILURE)
    local parent, since = parent_of(flat[i])
    if before ~= '' and parent and parent ~= before then ends, times = math.min(ends, since), 0 end
    found[flat[i]] = {ends = tonumber(ends), times = tonumber(times), temporary = temporary == '1',
      scope = scope, class = class}
  end
  return found
end

-- The workers that are not to be asked again yet, in the order of their names.
local function failed_workers(failures, now)
  local names = {}
  for worker, failure in pairs(failures) do if failure.ends > now then names[#names + 1] = worker end end
  table.sort(names)
  return names
end

-- what: backoff (ms, of the first time), temporary ('1' or '0'), scope, class, cause, crash (it outlives a restart).
local function note_failure(ref, worker, now, what)
  local key, failures, first, count = k('failed_on', ref), failures_of(ref), nil, 0
  for other, failure in pairs(failures) do
    count, first = count + 1, (not first or failure.ends < failures[first].ends) and other or first
  end
  if count >= KEPT_FAILURES and not failures[worker] then redis.call('HDEL', key, first) end
  local times = failures[worker] and failures[worker].times + 1 or 1
  local pause = math.min(what.backoff * 2 ^ math.min(times - 1, 20), LONGEST_BACKOFF)
  redis.call('HSET', key, worker, string.format('%.0f %d %s %s %s\n%s\n%s', now + pause, times, what.temporary,
    what.scope, not what.crash and parent_of(worker) or '', what.class, what.cause))
  redis.call('PEXPIRE', key, 2 * LONGEST_BACKOFF)
end

-- The workers that are not to load it: its holders, those of `refused`, those that could not lately, those of a class
-- that is incompatible, those whose budget is `larger` bytes at most, and for a copy that is to share work (`extra`)
-- those without time. With `retry` failures do not count. Returns a function of a worker, and whether it holds of none.
local function excluding(ref, now, refused, extra, larger, retry)
  local names, classes, held = names_in(refused), {}, redis.call('EXISTS', k('holders', ref)) == 1
  larger = tonumber(larger or 0) or 0
  if not retry then
    for _, worker in ipairs(failed_workers(failures_of(ref), now)) do names[worker] = true end
    for _, class in ipairs(redis.call('SMEMBERS', k('incompatible', ref))) do classes[class] = true end
  end
  return function(worker)
    local own = facts(worker)
    if names[worker] or classes[own.class] or (larger > 0 and own.budget <= larger) then return true end
    if extra == 'scale_out' and not own.has_time then return true end
    return held and redis.call('HEXISTS', k('holders', ref), worker) == 1
  end, not held and larger == 0 and extra ~= 'scale_out' and not next(names) and not next(classes)
end

local function has_failures(ref) return redis.call('EXISTS', k('failed_on', ref), k('incompatible', ref)) > 0 end

-- Whether a worker that is not sick is left for a load that `refused` did not carry out.
local function is_one_left(ref, now, refused, extra, larger)
  local _, soonest, rank = fastest_loader(ref, now, excluding(ref, now, refused, extra, larger))
  return soonest ~= nil and rank < RANKS.sick
end

-- Whether a device class is incompatible: two of its workers agree, or there is no other healthy one.
local AGREEING = 2
local function class_agrees(ref, class, failures, worker, now)
  local agreeing = 0
  for _, failure in pairs(failures) do
    if failure.ends > now and failure.scope == 'class' and failure.class == class then agreeing = agreeing + 1 end
  end
  if agreeing >= AGREEING then return true end
  for _, other in ipairs(live_workers(now)) do
    if other ~= worker and facts(other).class == class and rank_of(other, ref) == 0 then return false end
  end
  return true
end
