-- protocol_rows: `protocols` has a row for each pair of protocol numbers that live processes have, 'writes reads' -> 'until
-- kind name', written by their heartbeats: so no process that joins asks all workers and all gateways (protocol). A row
-- ends no sooner than the last of their leases, and ROW_SPARE of a lease later at most.
local numbers_of, note_protocol
do
  local ROW_SPARE, ROWS_TTL_MS = 0.1, 86400000

  -- The protocol that a process writes, and the oldest that it reads; of one that reports none both are 1.
  function numbers_of(text)
    local writes, reads = string.match(text or '', '^(%d+) (%d+)$')
    return tonumber(writes) or 1, tonumber(reads) or 1
  end

  -- A process lives until `lease` ms from now. With the spare one heartbeat in a while writes, for all of them.
  function note_protocol(process, text, now, lease)
    local numbers = string.format('%d %d', numbers_of(text))
    local row = redis.call('HGET', PROTOCOLS, numbers)
    if tonumber(string.match(row or '', '^%d+') or 0) >= now + lease then return end
    redis.call('HSET', PROTOCOLS, numbers, string.format('%.0f %s', now + lease * (1 + ROW_SPARE), process))
    redis.call('PEXPIRE', PROTOCOLS, ROWS_TTL_MS)
  end
end
