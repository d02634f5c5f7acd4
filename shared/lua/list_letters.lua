-- list_letters: dead letters without their payloads, the newest first.
-- use: keys, constants
-- KEYS[1] prefix. ARGV: now, the newest entry to list ('+', or '(' and an entry), how many.
-- Returns per letter {entry, bytes of its payload, its other fields as a flat list}.
local out = {}
for _, e in ipairs(redis.call('XREVRANGE', DEAD_LETTERS, ARGV[2], '-', 'COUNT', ARGV[3])) do
  local fields, bytes = {}, 0
  for i = 1, #e[2], 2 do
    local name, value = e[2][i], e[2][i + 1]
    if name == 'body' then
      bytes = #value
    elseif string.sub(name, 1, #CARRIED) ~= CARRIED then
      fields[#fields + 1] = name
      fields[#fields + 1] = value
    end
  end
  out[#out + 1] = {e[1], bytes, fields}
end
return out
