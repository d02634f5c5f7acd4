-- report: the fields of a worker's registration and heartbeats (shared/worker_report.py).
-- Their names are written here once. A field that is missing or cannot be read counts as 0, or empty.
local function reported(worker, field) return redis.call('HGET', k('worker', worker), field) end

-- What a choice asks of a worker. Read once in a call of a script. A device that is less busy than SPARE, as a share
-- of time, can take more work, unless its models evict each other.
local SPARE = 0.7
local facts_of = {}
local function facts(worker)
  local known = facts_of[worker]
  if known then return known end
  local r = redis.call('HMGET', k('worker', worker), 'epoch', 'state', 'device_class', 'service_ms', 'busy_share',
    'contended', 'completed_per_s', 'budget_bytes')
  local busy_share = tonumber(r[5] or 0) or 0
  known = {epoch = r[1], ready = r[2] == 'ready', class = r[3] or '', service_ms = tonumber(r[4] or 0) or 0,
    busy_share = busy_share, spare = math.max(0, SPARE - busy_share), has_time = busy_share < SPARE and r[6] ~= '1',
    completed_per_s = tonumber(r[7] or 0) or 0, budget = tonumber(r[8] or 0) or 0}
  facts_of[worker] = known
  return known
end

-- Its health, and the refs whose calls fail there, as JSON.
local function reported_health(worker)
  local r = redis.call('HMGET', k('worker', worker), 'health', 'failing')
  return r[1], r[2]
end

-- Beside the report: its parent process (nil: an older release), and when it has registered.
local function parent_of(worker)
  local r = redis.call('HMGET', k('worker', worker), 'parent', 'since')
  return r[1] or nil, tonumber(r[2] or 0) or 0
end

-- When it last took a load while it was suspect (nil: it is not). `at` nil: delete it.
local function trial_load_at(worker) return tonumber(redis.call('HGET', k('worker', worker), 'trial') or nil) end

local function set_trial_load(worker, at)
  if not at then return redis.call('HDEL', k('worker', worker), 'trial') end
  redis.call('HSET', k('worker', worker), 'trial', at)
end

-- When the use of its copies was reported, if it is among the fields from ARGV[first] on.
local function note_copies_at(worker, first, now)
  for i = first, #ARGV, 2 do
    if ARGV[i] == 'copies' then redis.call('HSET', k('worker', worker), 'copies_at', now) end
  end
end

-- Whether it is among the workers that share the memory of its host.
local function note_host(worker, here)
  local host = reported(worker, 'host_id') or ''
  if host ~= '' then redis.call(here and 'SADD' or 'SREM', k('host', host), worker) end
end

-- Bytes of its budget, and the most models that it may hold (0: any number); bytes and number of what policies pin there
-- (nil: an older release does not say), and beside the report of what is reserved for sessions.
local function capacity_of(worker)
  local r = redis.call('HMGET', k('worker', worker), 'budget_bytes', 'max_models', 'pinned_bytes', 'pinned_models',
    'for_sessions', 'session_models')
  local function number(at) return tonumber(r[at] or nil) end
  return {budget = number(1) or 0, most = number(2) or 0, pinned = number(3), pinned_models = number(4) or 0,
    session = number(5) or 0, session_models = number(6) or 0}
end

local function add_for_sessions(worker, bytes, models)
  redis.call('HINCRBY', k('worker', worker), 'for_sessions', string.format('%.0f', bytes))
  redis.call('HINCRBY', k('worker', worker), 'session_models', models)
end
