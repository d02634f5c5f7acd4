-- report: the fields of a worker's registration and heartbeats (shared/worker_report.py).
-- Their names are written here once. A field that is missing or cannot be read counts as 0, or empty.
local function reported(worker, field) return redis.call('HGET', k('worker', worker), field) end

local function is_ready(worker) return reported(worker, 'state') == 'ready' end

local function completed_per_s(worker) return tonumber(reported(worker, 'completed_per_s') or 0) or 0 end

local function service_ms(worker) return tonumber(reported(worker, 'service_ms') or 0) or 0 end

local function busy_share(worker) return tonumber(reported(worker, 'busy_share') or 0) or 0 end

local function is_contended(worker) return reported(worker, 'contended') == '1' end

local function device_class(worker) return reported(worker, 'device_class') or '' end

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

-- Whether it is among the workers that share the memory of its host.
local function note_host(worker, here)
  local host = reported(worker, 'host_id') or ''
  if host ~= '' then redis.call(here and 'SADD' or 'SREM', k('host', host), worker) end
end

-- Bytes of its budget, and the most models that it may hold (0: any number).
local function capacity(worker)
  local r = redis.call('HMGET', k('worker', worker), 'budget_bytes', 'max_models')
  return tonumber(r[1] or 0) or 0, tonumber(r[2] or 0) or 0
end
