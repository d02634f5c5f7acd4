-- Every command that a script may send, by the virtual clock.
function sim.sorted(answer)
  table.sort(answer)
  return answer
end

-- A hash that has grown is listed in an order that no two servers have in common.
function sim.pairs(answer)
  local values, names = {}, {}
  for i = 1, #answer, 2 do
    names[#names + 1] = answer[i]
    values[answer[i]] = answer[i + 1]
  end
  table.sort(names)
  local flat = {}
  for _, name in ipairs(names) do
    flat[#flat + 1] = name
    flat[#flat + 1] = values[name]
  end
  return flat
end

function sim.pick(all, count)
  if not count then return all[1 + sim.now % math.max(1, #all)] or false end
  local some = {}
  for i = 1, math.min(tonumber(count), #all) do some[i] = all[1 + (sim.now + i) % #all] end
  return some
end

function sim.pick_scored(key, count, scores)
  local some = sim.pick(sim.sorted(sim.call('ZRANGE', key, 0, -1)), count)
  if not scores then return some end
  local flat = {}
  for _, member in ipairs(some) do
    flat[#flat + 1] = member
    flat[#flat + 1] = sim.call('ZSCORE', key, member)
  end
  return flat
end

function sim.drop(...)
  local gone = 0
  for _, key in ipairs({...}) do
    sim.forget(key)
    if sim.call('DEL', key) == 1 then
      gone = gone + 1
      sim.note('DEL', key)
    end
  end
  return gone
end

function sim.shrink(via, cmd, key, ...)
  local answer = sim.write(via, cmd, key, ...)
  if sim.call('EXISTS', key) == 0 then sim.forget(key) end
  return answer
end

local NOTED = {XDEL = 1, RPUSH = 1, HSET = 1, HSETNX = 1, HINCRBY = 1, ZADD = 1}
local SHRINKING = {HDEL = 1, SREM = 1, ZREM = 1, LREM = 1, LPOP = 1, RPOP = 1, ZPOPMIN = 1}

function sim.run(via, cmd, key, ...)
  cmd = string.upper(cmd)
  if cmd == 'XADD' then return sim.add(via, key, ...) end
  if NOTED[cmd] then return sim.write(via, cmd, key, ...) end
  if cmd == 'DEL' or cmd == 'UNLINK' then return sim.drop(key, ...) end
  if SHRINKING[cmd] then return sim.shrink(via, cmd, key, ...) end
  if cmd == 'PEXPIRE' then return sim.live(key, tonumber((...))) end
  if cmd == 'EXPIRE' then return sim.live(key, 1000 * tonumber((...))) end
  if cmd == 'PTTL' then return sim.left(key) end
  if cmd == 'TTL' then return math.ceil(sim.left(key) / 1000) end
  if cmd == 'PERSIST' then return sim.call('ZREM', EXPIRY, key) end
  if cmd == 'RENAME' then
    sim.forget(key)
    return via(cmd, key, ...)
  end
  if cmd == 'SET' then return sim.set(via, key, ...) end
  if cmd == 'SPOP' then return sim.sorted(sim.shrink(via, cmd, key, ...)) end
  if cmd == 'SMEMBERS' or cmd == 'HKEYS' then return sim.sorted(via(cmd, key)) end
  if cmd == 'HGETALL' then return sim.pairs(via(cmd, key)) end
  if cmd == 'SRANDMEMBER' then return sim.pick(sim.sorted(sim.call('SMEMBERS', key)), ...) end
  if cmd == 'ZRANDMEMBER' then return sim.pick_scored(key, ...) end
  if cmd == 'TIME' then return {math.floor(sim.now / 1000), (sim.now % 1000) * 1000} end
  return via(cmd, key, ...)
end

local redis = setmetatable({
  call = function(...) return sim.run(sim.call, ...) end,
  pcall = function(...) return sim.run(sim.pcall, ...) end,
}, {__index = redis})
sim.purge()
