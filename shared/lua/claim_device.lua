-- claim_device: claim a GPU that no other worker has. The heartbeat keeps the claim.
-- use: keys, constants
-- KEYS[1] prefix. ARGV: now, worker, lease ms, then uuids in the order of preference.
-- Returns the number of the uuid from 1 on: one that the worker had already is preferred to a free one | 0 none.
local worker, free = ARGV[2], 0
for i = 4, #ARGV do
  local holder = redis.call('GET', k('device', ARGV[i]))
  if holder == worker then
    free = i - 3
    break
  end
  if not holder and free == 0 then free = i - 3 end
end
open_with_harmless_write()
if free > 0 then redis.call('SET', k('device', ARGV[free + 3]), worker, 'PX', ARGV[3]) end
return free
