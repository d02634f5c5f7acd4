-- parked: place the parked requests of a model, those with the fewest starts first: a request that has crashed
-- a process is not the probe of a quarantine while others wait, and it harms none of them.
-- budget: how many, where an order counts ORDER_UNITS more (order).
-- Returns how many, and whether the rest has to wait, for the result of a probe or for a healthy copy.
local function place_parked(ref, now, budget)
  local stream, rows, before = k('parked', ref), {}, work_done(0)
  for i, e in ipairs(redis.call('XRANGE', stream, '-', '+', 'COUNT', budget)) do
    rows[i] = {at = i, entry = e, attempts = tonumber(as_table(e[2]).attempts) or 0}
  end
  table.sort(rows, function(a, b)
    return a.attempts < b.attempts or (a.attempts == b.attempts and a.at < b.at)
  end)
  for i, row in ipairs(rows) do
    if work_done(i - 1) - before >= budget then return i - 1, false end
    if breaker(ref, now) == 'open' and not crashed_holders(ref, now) then return i - 1, true end
    local item = moving(row.entry[2], stream, row.entry[1])
    if item and take_entry(stream, row.entry[1], ref) then
      item.fewest = i == 1
      if place_item(item, now) == 'parked' then return i - 1, true end  -- for a healthy copy
    end
  end
  return #rows, false
end
