-- Answers whose order or choice is Redis's own, in one that is the same on each server.
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
