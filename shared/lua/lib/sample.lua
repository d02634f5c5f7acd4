-- sample: the workers that a choice looks at. Up to MOST_SAMPLED that is every live one; of more it is as many at
-- random and the least busy of each device class (ready:<class>), so that no choice costs more in a larger fleet. It
-- is drawn once in a call of a script.
local MOST_SAMPLED = 32
local sampled, is_sampled = nil, {}

-- Those of `names` whose lease has not expired.
local function alive(names, now)
  local live = {}
  if #names == 0 then return live end
  for i, lease in ipairs(redis.call('ZMSCORE', WORKERS, unpack(names))) do
    if lease and tonumber(lease) > now then live[#live + 1] = names[i] end
  end
  return live
end

local live_workers
do
  local OF_EACH_CLASS, MOST_CLASSES = 4, 16

  local function draw(now)
    if redis.call('ZCARD', WORKERS) <= MOST_SAMPLED then
      return redis.call('ZRANGEBYSCORE', WORKERS, '(' .. now, '+inf')
    end
    local names, seen = {}, {}
    local function add(drawn)
      for _, worker in ipairs(drawn) do
        if not seen[worker] then names[#names + 1] = worker end
        seen[worker] = true
      end
    end
    add(redis.call('ZRANDMEMBER', WORKERS, MOST_SAMPLED))
    for _, class in ipairs(redis.call('SRANDMEMBER', DEVICE_CLASSES, MOST_CLASSES)) do
      add(redis.call('ZRANGE', k('ready', class), 0, OF_EACH_CLASS - 1))
    end
    return alive(names, now)
  end

  function live_workers(now)
    if sampled then return sampled end
    sampled = draw(now)
    for _, worker in ipairs(sampled) do is_sampled[worker] = true end
    return sampled
  end
end

-- A sum over the live workers, if `each` of the sample is as the others are.
local function of_all(now, each)
  local sum, drawn, count = 0, live_workers(now), redis.call('ZCARD', WORKERS)
  for _, worker in ipairs(drawn) do sum = sum + each(worker) end
  return count > MOST_SAMPLED and #drawn > 0 and sum * count / #drawn or sum
end

-- The index of ready workers by their class of device and how busy it is: kept by what registers, reports and leaves.
local function unindex_class(worker)
  local class = reported(worker, 'device_class') or ''
  if redis.call('ZREM', k('ready', class), worker) == 0 then return end
  if redis.call('EXISTS', k('ready', class)) == 0 then redis.call('SREM', DEVICE_CLASSES, class) end
end

local function index_class(worker)
  local own = facts(worker)
  if not own.ready then return unindex_class(worker) end
  if redis.call('ZADD', k('ready', own.class), own.busy_share, worker) == 1 then
    redis.call('SADD', DEVICE_CLASSES, own.class)
  end
end
