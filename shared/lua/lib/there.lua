-- there: whether an entry is in a stream, without reading its payload: a group that is made for this question claims it
-- by its id.
local function is_there(stream, entry)
  if redis.call('EXISTS', stream) == 0 then return false end
  redis.call('XGROUP', 'CREATE', stream, 'there', '0')
  local found = redis.pcall('XCLAIM', stream, 'there', 'there', 0, entry, 'FORCE', 'JUSTID')
  redis.call('XGROUP', 'DESTROY', stream, 'there')
  if found.err then error(found.err) end
  return #found > 0
end
