"""Values that processes and scripts share. `lua/lib/constants.lua` is the twin (a test compares).

Every flag, queue, cap and lifetime that both sides use is defined here once.
"""

from __future__ import annotations

# What this release writes, and the oldest protocol that it reads: `PROTOCOL.md`, section 10.
PROTOCOL = 1
OLDEST_PROTOCOL = 1

# Flags of a request, one letter each, in the field `flags` of its work entry and of its record.
KEEP = "k"  # it has a record
POLL = "p"  # its outcome is kept for pollers
COLD = "c"  # it waited for a load
PROBE = "h"  # its success closes the circuit breaker of its model
WATCHED = "w"  # its model has crashed workers lately, and its success speaks for it

DOOR_GROUP = "g"  # the consumer group of the doors `ingress`, `outbox` and `failures`
COLD_QUEUE = "cold"  # RQ's name of the queue of load orders

ENTRY_FIELDS = ("id", "model", "deadline", "reply", "flags", "attempts", "body")
DOOR_FIELDS = frozenset({"id", "model", "version", "timeout", "reply_to", "body"})

DEAD_LETTERS_MAX = 1000
FAILURES_MAX = 10_000
REPLIES_MAX = 100_000
ORDERS_MAX = 1000  # per worker; orders that are cut off are still in the cold queue
RECORD_BYTES = 512  # of a record and its tombstone, beside the outcome
LARGE_BODY = 16_384  # bytes; from here on the record of a request has its size
LETTER_BODY_MAX = 1 << 20  # a larger payload is not kept with its dead letter
CARRIED_MAX = 100  # fields of a work entry that this release does not know

HEAD_START_MS = 250  # for the worker that can have a model soonest
RECENT_SUCCESS_MS = 60_000
ORDER_TTL_MS = 20_000
DIRECT_TTL_MS = 10_000
CLAIM_TTL_MS = 1000
RESULT_TTL_MS = 3_600_000
REPLIES_TTL_MS = 60_000
KEY_TTL_MS = 86_400_000
# Behind the name of a gateway that stops: where its replies are then.
UNREAD = ".unread"
# What an open request needs outlives its deadline, or the lease of its gateway, by this: a leap of
# Redis's clock, by which keys end, loses no request.
LEAP_SPARE_MS = 86_400_000
STALL_SPARE_MS = 900_000  # a key outlives its lease by this: no clock that was set deletes it
SHARED_MEMORY = 193  # the first byte of a body or an outcome that is a reference to shared memory
