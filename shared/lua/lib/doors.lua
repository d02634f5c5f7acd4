-- doors: the streams that gateways read as a group. What a dead gateway had read and not finished goes back.
local ensure_group, return_entries
do
  local MOST_FIELDS = 100 -- far more than a request has; Lua's unpack fails at some thousands

  -- The stream may be there without its group: a producer came first, or the group was destroyed.
  function ensure_group(door)
    local groups = redis.call('EXISTS', door) == 1 and redis.call('XINFO', 'GROUPS', door) or {}
    for _, group in ipairs(groups) do
      if group[2] == DOOR_GROUP then return end
    end
    redis.call('XGROUP', 'CREATE', door, DOOR_GROUP, '0', 'MKSTREAM')
  end

  -- Returns whether the entry may be deleted, and 1 if it was moved.
  local function put_back(door, e)
    -- (A door whose last id has been used accepts no entries: then the entry stays.)
    if #e[2] <= 2 * MOST_FIELDS then
      if redis.pcall('XADD', door, '*', unpack(e[2])).err then return false, 0 end
      return true, 1
    end
    redis.call('XADD', DEAD_LETTERS, 'MAXLEN', DEAD_LETTERS_MAX, '*', 'kind', 'entry', 'entry', e[1], 'cause',
      'invalid has ' .. #e[2] / 2 .. ' fields')
    return true, 0
  end

  -- At most `chunk` of them. Returns how many were moved, and 1 if more are left.
  function return_entries(door, gateway, chunk)
    local moved = 0
    for _, p in ipairs(redis.call('XPENDING', door, DOOR_GROUP, '-', '+', chunk, gateway)) do
      local e = redis.call('XRANGE', door, p[1], p[1])[1]
      local done, count = not e, 0
      if e then done, count = put_back(door, e) end
      moved = moved + count
      if done then
        redis.call('XDEL', door, p[1])
        redis.call('XACK', door, DOOR_GROUP, p[1])
      end
    end
    if #redis.call('XPENDING', door, DOOR_GROUP, '-', '+', 1, gateway) > 0 then return moved, 1 end
    redis.call('XGROUP', 'DELCONSUMER', door, DOOR_GROUP, gateway)
    return moved, 0
  end
end
