-- protocol: whether a process can work beside every live one of its cell.
-- Each process has two numbers: the protocol that it writes, and the oldest that it reads. Two can work
-- beside each other if each reads what the other writes. A process that reports none writes and reads 1.
-- Up to LOOKED_AT processes of a kind are asked themselves: in a small cell those are all. Of more the rows say it
-- (protocol_rows); of a release without rows a process is found only if it is asked.
local protocol_conflict
do
  local LOOKED_AT = 32

  -- Returns nil, or {the live process in conflict, the protocol it writes, the oldest it reads}.
  function protocol_conflict(id, writes, reads, now)
    local asked_all = true

    local function conflict(process, text)
      local its, from = numbers_of(text)
      if its < reads or writes < from then return {process, tostring(its), tostring(from)} end
    end

    local function ask(processes, kind, numbers_text)
      local drawn = redis.call('ZRANDMEMBER', processes, LOOKED_AT)
      asked_all = asked_all and #drawn == redis.call('ZCARD', processes)
      if #drawn == 0 then return nil end
      for i, lease in ipairs(redis.call('ZMSCORE', processes, unpack(drawn))) do
        local lives = drawn[i] ~= id and tonumber(lease) > now
        local found = lives and conflict(kind .. drawn[i], numbers_text(drawn[i]))
        if found then return found end
      end
    end

    local found = ask(WORKERS, 'worker ', function(name) return redis.call('HGET', k('worker', name), 'protocol') end)
      or ask(GATEWAYS, 'gateway ', function(name) return redis.call('GET', k('gateway', name)) end)
    if found or asked_all then return found or nil end
    local grace = grace_of(now)  -- no heartbeat could write
    for numbers, row in pairs(as_table(redis.call('HGETALL', PROTOCOLS))) do
      local ends, process = string.match(row, '^(%d+) (.*)$')
      if grace or tonumber(ends) > now then found = found or conflict(process, numbers) end
    end
    return found or nil
  end
end
