-- constants: values that scripts and processes share. shared/constants.py is the twin (a test compares).
-- Flags of a request. KEEP: it has a record. POLL: its outcome is kept for pollers. COLD: it waited for a
-- load. PROBE: its success closes the circuit breaker of its model. WATCHED: its model has crashed workers
-- lately, and its success speaks for it.
local KEEP, POLL, COLD, PROBE, WATCHED = 'k', 'p', 'c', 'h', 'w'
local DOOR_GROUP = 'g'
local COLD_QUEUE = P .. 'rq:queue:cold'
local COMPACTED_QUEUE = P .. 'rq:queue:cold.rest'  -- what is still to be looked at (order)
local DEAD_LETTERS_MAX, FAILURES_MAX, REPLIES_MAX, ORDERS_MAX = 1000, 10000, 100000, 1000
local RECENT_SUCCESS_MS = 60000  -- holders that it has not crashed go on for this long after a success
local HEAD_START_MS, ORDER_TTL_MS, DIRECT_TTL_MS, CLAIM_TTL_MS = 250, 20000, 10000, 1000
local RESULT_TTL_MS, REPLIES_TTL_MS, KEY_TTL_MS = 3600000, 60000, 86400000
-- Beyond its lease a key stays this long, so that no clock that was set, and no stall, deletes it.
local STALL_SPARE_MS = 900000
-- So does, beyond a deadline too, what an open request needs.
local LEAP_SPARE_MS = 86400000
-- Behind the name of a gateway that stops: where its replies are from its first `hand_over` on. It has no other stream.
local UNREAD = '.unread'
local CARRIED = 'entry.'  -- before the name of a field that a dead letter keeps for its replay
local CARRIED_MAX = 100  -- fields; Lua's unpack fails at some thousands
local RECORD_BYTES = 512  -- of a record and its tombstone, beside the outcome
local LARGE_BODY = 16384  -- bytes; from here on the record of a request has its size
local LETTER_BODY_MAX = 1048576  -- a larger payload is not kept with its dead letter
local SHARED_MEMORY = 193  -- the first byte of a body or an outcome that is a reference to shared memory
-- The fields of a work entry that these scripts know. Other fields, of a newer release, are kept.
local ENTRY_FIELDS = {id = true, model = true, deadline = true, reply = true, flags = true,
  attempts = true, body = true}

-- The fields of a stream entry at the door.
local DOOR_FIELDS = {id = true, model = true, version = true, timeout = true, reply_to = true,
  body = true}

-- (Most requests have none.)
local function has_flag(flags, flag) return flags ~= '' and string.find(flags, flag, 1, true) ~= nil end

local function with_flag(flags, flag) return has_flag(flags, flag) and flags or flags .. flag end
