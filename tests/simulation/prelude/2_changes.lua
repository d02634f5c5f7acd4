-- What streams and hashes are told to have been given, and the report of every change.
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
