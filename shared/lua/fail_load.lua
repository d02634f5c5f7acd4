-- fail_load: record a failed load. It is charged to its worker: another one is asked. When none is left, or
--   enough distinct workers agree, or the model itself is proved to be the cause, that is kept and new requests get it;
--   parked requests get a permanent cause, and with a temporary one they keep waiting, up to their deadlines.
-- use: keys, constants, changes, queued, report, outcomes, publish, entries, sample, health, holders, model_facts, load_target, loaded_versions, blame, cold_queue, order
-- KEYS[1] prefix. ARGV: now, worker, ref, token, 'code message', back-off ms, chunk, temporary ('1' or ''),
--   device class, the full cause for the log, scope of the cause: 'worker' | 'class' (this class of
--   devices cannot run it) | 'model' (proved). A request that a live holder can serve does not fail.
-- Returns parked requests still to be answered (call again) | -1 stale.
local MOST_ASKED, NAMED_MOST = 8, 4
local now, worker, ref, class, scope = clock(), ARGV[2], ARGV[3], ARGV[9], ARGV[11] or 'worker'
local load, parked = k('load', ref), k('parked', ref)
local r = redis.call('HMGET', load, 'token', 'worker', 'refused', 'extra', 'cause', 'larger')
if r[1] ~= ARGV[4] or r[2] ~= worker then return -1 end
open_with_harmless_write()

local function end_load()
  redis.call('DEL', load)
  redis.call('SREM', k('loads', worker), ref)
end

-- The cause for requests, with the workers that agree.
local function agreed_cause(names)
  if #names < 2 then return ARGV[5] end
  local code, message = string.match(ARGV[5], '^(%S+) ?(.*)$')
  local listed = table.concat(names, ', ', 1, math.min(#names, NAMED_MOST))
  if #names > NAMED_MOST then listed = listed .. ' and ' .. #names - NAMED_MOST .. ' more' end
  return code .. ' ' .. #names .. ' workers could not load it (' .. listed .. '), the last: ' .. message
end

local cause = r[5]  -- of the call before, which answered a chunk
if not cause then
  note_failure(ref, worker, now, {backoff = tonumber(ARGV[6]), temporary = ARGV[8] == '1' and '1' or '0',
    scope = scope, class = class, cause = ARGV[5]})
  local failures, live, temporary = failures_of(ref), live_holders(ref, now), false
  if scope == 'class' and class_agrees(ref, class, failures, worker, now) then
    redis.call('SADD', k('incompatible', ref), class)
    redis.call('PEXPIRE', k('incompatible', ref), ARGV[6])
  end
  local names, refused, extra = failed_workers(failures, now), r[3] or '', r[4] or ''
  if extra ~= '' and redis.call('XLEN', parked) > 0 then extra, refused = '', '' end  -- now for a first copy
  if scope ~= 'model' and #names < MOST_ASKED and is_one_left(ref, now, refused, extra, r[6]) then
    redis.call('SREM', k('loads', worker), ref)
    order_load(ref, ARGV[4], now, {refused = refused, extra = extra, larger = r[6]})
    return 0
  end
  if #live > 0 then  -- it can be served: only a further copy failed
    end_load()
    redis.call('SET', k('no_capacity', ref), worker, 'PX', ARGV[6])
    return 0
  end
  for _, name in ipairs(names) do temporary = temporary or failures[name].temporary end
  cause, temporary = agreed_cause(names), temporary and scope ~= 'model'
  note_refused(ref, now, tonumber(ARGV[6]))
  redis.call('SET', k('unloadable', ref), (temporary and '~' or '') .. cause, 'PX', ARGV[6])
  if temporary then
    end_load()
    return 0
  end
  forget_version(ref)
  redis.call('HSET', load, 'cause', cause)
end
for _, e in ipairs(redis.call('XRANGE', parked, '-', '+', 'COUNT', ARGV[7])) do
  local item = moving(e[2], parked, e[1])
  if item and take_entry(parked, e[1], item.model) then
    item.cause = ARGV[10]
    publish(item, 'failed', worker, cause, now)
  end
end
local left = redis.call('XLEN', parked)
if left == 0 then
  end_load()
  redis.call('DEL', parked)
  redis.call('SREM', PARKED, ref)
end
return left
