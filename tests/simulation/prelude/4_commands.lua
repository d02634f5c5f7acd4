-- Every command that a script may send, by the virtual clock.
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
