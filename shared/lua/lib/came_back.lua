-- came_back: Redis gives no entry id twice, but after a failover to a replica that lacks the last entries, and whose clock
-- is behind, an id may come back. So the entry of an id that was learned over an earlier connection is looked at first, which
-- reads its payload. Returns whether it is that of another request.
local function is_another(stream, entry, id)
  local e = redis.call('XRANGE', stream, entry, entry)[1]
  return e ~= nil and as_table(e[2]).id ~= id
end
