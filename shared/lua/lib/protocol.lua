-- protocol: whether a process can work beside every live one of its cell.
-- Each process has two numbers: the protocol that it writes, and the oldest that it reads. Two can work
-- beside each other if each reads what the other writes. A process that reports none writes and reads 1.
-- `protocols` has a row for each pair of numbers that live processes have, 'writes reads' -> 'until kind name', written
-- by their heartbeats: so who joins asks neither all workers nor all gateways. A row ends no sooner than the last of
-- their leases, and ROW_SPARE of a lease later at most. Up to LOOKED_AT processes of a kind are asked themselves: in a
-- small cell those are all, and rows do not count. Of a release without rows a process is found in that way only.
local note_protocol, protocol_conflict
do
  local LOOKED_AT, ROW_SPARE = 32, 0.1

  local function numbers_of(text)
    local writes, reads = string.match(text or '', '^(%d+) (%d+)$')
    return tonumber(writes) or 1, tonumber(reads) or 1
  end

  -- A process lives until `lease` ms from now. With the spare one heartbeat in a while writes, for all of them.
  function note_protocol(process, text, now, lease)
    local numbers = string.format('%d %d', numbers_of(text))
    local row = redis.call('HGET', PROTOCOLS, numbers)
    if tonumber(string.match(row or '', '^%d+') or 0) >= now + lease then return end
    redis.call('HSET', PROTOCOLS, numbers, string.format('%.0f %s', now + lease * (1 + ROW_SPARE), process))
    redis.call('PEXPIRE', PROTOCOLS, KEY_TTL_MS)
  end

  -- Returns nil, or {the live process in conflict, the protocol it writes, the oldest it reads}.
  function protocol_conflict(id, writes, reads, now)
    local asked_all = true

    local function conflict(process, text)
      local its, from = numbers_of(text)
      if its < reads or writes < from then return {process, tostring(its), tostring(from)} end
    end

    local function ask(processes, kind, numbers_text)
      local drawn = redis.call('ZRANDMEMBER', processes, LOOKED_AT, 'WITHSCORES')
      asked_all = asked_all and #drawn == 2 * redis.call('ZCARD', processes)
      for i = 1, #drawn, 2 do
        local lives = drawn[i] ~= id and tonumber(drawn[i + 1]) > now
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
