-- outcomes: how requests without a record ended, by id, for an hour; of each kind the newest.
-- kind: 'failed' (written where the outcome is decided) | 'answered' (reported by gateways, in batches).
-- The text of one is 'status worker cold ref outcome'. Texts are stored in generations, and the oldest
-- is deleted as a whole: at least three quarters of the maximum are kept, or one hour.
local GENERATIONS, TURN, LIFE = 4, 1200000, 4800000
local FAILED_MOST, SHOWN_CHARS = 10000, 600

local function generation(kind, most, now)
  local head = redis.call('HMGET', OUTCOMES, kind, kind .. '_since')
  local number = tonumber(head[1] or 0)
  local key = k('outcomes', kind .. '.' .. number)
  local size = redis.call('HLEN', key)
  if size > 0 and size < most / GENERATIONS and now - tonumber(head[2]) < TURN then return key, false end
  redis.call('UNLINK', k('outcomes', kind .. '.' .. (number + 1 - GENERATIONS)))
  redis.call('HSET', OUTCOMES, kind, number + 1, kind .. '_since', now)
  redis.call('PEXPIRE', OUTCOMES, LIFE + TURN)
  return k('outcomes', kind .. '.' .. (number + 1)), true
end

-- ends: id, text, id, text ...
local function record_outcomes(kind, most, ends, now)
  local key, new = generation(kind, most, now)
  redis.call('HSET', key, unpack(ends))
  if new then redis.call('PEXPIRE', key, LIFE) end
end

-- The text of a request that ended, or nil.
local function find_outcome(id)
  for _, kind in ipairs({'failed', 'answered'}) do
    local number = tonumber(redis.call('HGET', OUTCOMES, kind) or 0)
    for n = number, math.max(1, number + 1 - GENERATIONS), -1 do
      local text = redis.call('HGET', k('outcomes', kind .. '.' .. n), id)
      if text then return text end
    end
  end
end

-- Record a failed request: for a line in a gateway's log, and its end if it has no record.
local function record_failure(item, status, worker, cold, outcome, now, kept)
  if status == 'succeeded' or status == 'cancelled' then return end
  redis.call('XADD', FAILURES, 'MAXLEN', '~', FAILURES_MAX, '*', 'id', item.id, 'model',
    item.model or '', 'worker', worker, 'outcome', outcome, 'cause', item.cause or '')
  if kept or item.id == '' or (item.model or '') == '' then return end
  local said = string.sub(outcome, 1, SHOWN_CHARS)
  local text = table.concat({status, worker == '' and '-' or worker, cold, item.model, said}, ' ')
  record_outcomes('failed', FAILED_MOST, {item.id, text}, now)
end
