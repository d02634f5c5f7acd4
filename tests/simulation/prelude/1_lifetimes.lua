-- Put before a script by the simulation: lifetimes, entry ids and random picks follow the virtual
-- clock in ARGV[1], which is then empty, and what the script changed is returned beside its answer.
-- A lifetime is a member of the sorted set `sim:expiry`, so that no key dies by Redis's own clock.
local sim = {now = tonumber(ARGV[1]), log = {}, call = redis.call, pcall = redis.pcall}
ARGV[1] = ''
local EXPIRY, LAST = 'sim:expiry', '18446744073709551615'

function sim.note(...) sim.log[#sim.log + 1] = {...} end

-- Payloads are told by their hash; of a failure its code goes before it, and some of its text behind it.
function sim.brief(given)
  local short = {unpack(given)}
  for i, word in ipairs(short) do
    if (word == 'body' or word == 'outcome') and short[i + 1] then
      local code, text = string.match(short[i + 1], '^([a-z_]+) (.*)$')
      local hash = redis.sha1hex(short[i + 1])
      short[i + 1] = word == 'outcome' and code and code .. ' ' .. hash .. ' ' .. string.sub(text, 1, 80) or hash
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
