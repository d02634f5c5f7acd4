-- protocol: whether a process can work beside every live one of its cell.
-- Each process has two numbers: the protocol that it writes, and the oldest that it reads. Two can work
-- beside each other if each reads what the other writes. A process that reports none writes and reads 1.
local function numbers_of(text)
  local writes, reads = string.match(text or '', '^(%d+) (%d+)$')
  return tonumber(writes) or 1, tonumber(reads) or 1
end

-- Returns nil, or {the live process in conflict, the protocol it writes, the oldest it reads}.
local function protocol_conflict(id, writes, reads, now)
  local live = '(' .. now
  for _, worker in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, live, '+inf')) do
    local its, from = numbers_of(redis.call('HGET', k('worker', worker), 'protocol'))
    if worker ~= id and (its < reads or writes < from) then
      return {'worker ' .. worker, tostring(its), tostring(from)}
    end
  end
  for _, gateway in ipairs(redis.call('ZRANGEBYSCORE', GATEWAYS, live, '+inf')) do
    local its, from = numbers_of(redis.call('GET', k('gateway', gateway)))
    if gateway ~= id and (its < reads or writes < from) then
      return {'gateway ' .. gateway, tostring(its), tostring(from)}
    end
  end
end
