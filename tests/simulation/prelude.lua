-- Put before a script by the simulation: lifetimes, entry ids and random picks follow the virtual
-- clock in ARGV[1], and what the script changed is returned beside its answer.
-- A lifetime is a member of the sorted set `sim:expiry`, so that no key dies by Redis's own clock.
local sim = {now = tonumber(ARGV[1]), log = {}, call = redis.call, pcall = redis.pcall}
local EXPIRY, LAST = 'sim:expiry', '18446744073709551615'

function sim.note(...) sim.log[#sim.log + 1] = {...} end

-- Payloads are told by their hash.
function sim.brief(given)
  local short = {unpack(given)}
  for i, word in ipairs(short) do
    if (word == 'body' or word == 'outcome') and short[i + 1] then
      short[i + 1] = redis.sha1hex(short[i + 1])
    end
  end
  return unpack(short)
end

function sim.purge()
  for _, key in ipairs(sim.call('ZRANGEBYSCORE', EXPIRY, '-inf', sim.now)) do
    sim.call('DEL', key)
    sim.call('ZREM', EXPIRY, key)
    sim.note('EXPIRED', key)
  end
end

function sim.live(key, ms)
  if sim.call('EXISTS', key) == 0 then return 0 end
  sim.call('ZADD', EXPIRY, sim.now + ms, key)
  return 1
end

function sim.left(key)
  if sim.call('EXISTS', key) == 0 then return -2 end
  local ends = sim.call('ZSCORE', EXPIRY, key)
  return ends and tonumber(ends) - sim.now or -1
end

function sim.forget(key) sim.call('ZREM', EXPIRY, key) end

function sim.set(via, key, value, ...)
  local rest, ms, keep = {}, nil, false
  local given, i = {...}, 1
  while i <= #given do
    local word = string.upper(given[i])
    if word == 'PX' then ms, i = tonumber(given[i + 1]), i + 1
    elseif word == 'EX' then ms, i = 1000 * tonumber(given[i + 1]), i + 1
    elseif word == 'KEEPTTL' then keep = true
    else rest[#rest + 1] = given[i] end
    i = i + 1
  end
  local answer = via('SET', key, value, unpack(rest))
  if answer and not answer.err then
    if ms then sim.live(key, ms) elseif not keep then sim.forget(key) end
    sim.note('SET', key, value)
  end
  return answer
end

-- The id that XADD would give: one that a stream of that name gave before it was deleted may come back.
function sim.next_id(key)
  local about = sim.call('EXISTS', key) == 1 and sim.call('XINFO', 'STREAM', key) or {}
  for i = 1, #about, 2 do
    if about[i] == 'last-generated-id' then
      local ms, seq = string.match(about[i + 1], '(%d+)-(%d+)')
      if tonumber(ms) < sim.now then break end
      if seq == LAST then return string.format('%d-0', ms + 1) end
      return string.format('%s-%d', ms, seq + 1)
    end
  end
  return string.format('%d-0', sim.now)
end

function sim.add(via, key, ...)
  local given = {...}
  for i, word in ipairs(given) do
    if word == '*' then
      given[i] = sim.next_id(key)
      break
    end
  end
  local answer = via('XADD', key, unpack(given))
  if not (type(answer) == 'table' and answer.err) then
    sim.note('XADD', key, answer or '', sim.brief(given))
  end
  return answer
end

function sim.write(via, cmd, key, ...)
  local answer = via(cmd, key, ...)
  sim.note(cmd, key, type(answer) == 'number' and answer or '', sim.brief({...}))
  return answer
end

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

function sim.pick(key, count)
  local all = sim.sorted(sim.call('SMEMBERS', key))
  if not count then return all[1 + sim.now % math.max(1, #all)] or false end
  local some = {}
  for i = 1, math.min(tonumber(count), #all) do some[i] = all[1 + (sim.now + i) % #all] end
  return some
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

local NOTED = {XDEL = 1, HSET = 1, HSETNX = 1, HINCRBY = 1, ZADD = 1}
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
  if cmd == 'SET' then return sim.set(via, key, ...) end
  if cmd == 'SMEMBERS' or cmd == 'HKEYS' then return sim.sorted(via(cmd, key)) end
  if cmd == 'HGETALL' then return sim.pairs(via(cmd, key)) end
  if cmd == 'SRANDMEMBER' then return sim.pick(key, ...) end
  if cmd == 'TIME' then return {math.floor(sim.now / 1000), (sim.now % 1000) * 1000} end
  return via(cmd, key, ...)
end

local redis = setmetatable({
  call = function(...) return sim.run(sim.call, ...) end,
  pcall = function(...) return sim.run(sim.pcall, ...) end,
}, {__index = redis})
sim.purge()
