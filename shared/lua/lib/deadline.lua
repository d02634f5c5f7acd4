-- deadline: the outcome of a request whose deadline has passed, with the reason for its wait, if known;
-- and the worker that had it, or ''. stream: the stream of its entry.

-- The last failed load of its model, on whichever worker (lib/blame): a load that is ordered again hides it.
local function last_failure(ref)
  local flat, latest, worker, cause = redis.call('HGETALL', k('failed_on', ref)), -1, '', nil
  for i = 1, #flat, 2 do
    local ends, said = string.match(flat[i + 1], '^(%d+) [^\n]*\n[^\n]*\n%S+ (.*)$')
    ends = tonumber(ends or -1)
    if ends > latest or (ends == latest and ends >= 0 and flat[i] > worker) then
      latest, worker, cause = ends, flat[i], said
    end
  end
  return cause and ', after a load failed on worker ' .. worker .. ': ' .. cause or ''
end

local function expired_outcome(ref, stream, now)
  local said, work = 'expired the deadline passed', P .. 'work:'
  if string.find(stream, work, 1, true) == 1 then
    local worker = string.sub(stream, #work + 1)
    return said .. ': it was placed on worker ' .. worker, worker
  end
  if redis.call('ZCOUNT', WORKERS, '(' .. now, '+inf') == 0 then return said .. ': no worker is alive', '' end
  local failed = string.match(redis.call('GET', k('unloadable', ref)) or '', '^~?%S+ (.*)')
  if failed then return said .. ': the last load of its model failed: ' .. failed, '' end
  local lease = redis.call('HMGET', k('load', ref), 'phase', 'worker', 'why')
  local why = ((lease[3] or '') ~= '' and ', ' .. lease[3] or '') .. last_failure(ref)
  if lease[1] == 'ordered' then return said .. ': a load of its model was ordered, and no worker has started it' .. why, '' end
  if lease[1] then return said .. ': worker ' .. lease[2] .. ' was loading its model' .. why, '' end
  return said .. ': it waited for its model to be loaded' .. why, ''
end
