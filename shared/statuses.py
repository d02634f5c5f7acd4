"""The words that scripts answer with and that records hold. The Lua files are the twin: a test
compares every word that a script can return with `ANSWERS`, in both directions.

Compare with `statuses.PLACED` and the like, not with a literal.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

# States of a request: the terminal ones, and those of a record before the end.
SUCCEEDED: Final = "succeeded"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"
EXPIRED: Final = "expired"
TERMINAL: Final = frozenset({SUCCEEDED, FAILED, CANCELLED, EXPIRED})
PLACED: Final = "placed"
PARKED: Final = "parked"
RUNNING: Final = "running"
COMPLETED: Final = (SUCCEEDED, FAILED, EXPIRED, CANCELLED)  # what a worker sends with `complete`
PENDING: Final = frozenset({PLACED, PARKED, RUNNING})
QUEUED: Final = "queued"  # what clients read for `placed` and `parked`

# place, replay, cancel, subscribe, publish_reply
JOINED: Final = "joined"
MISMATCH: Final = "mismatch"
GONE: Final = "gone"
FULL: Final = "full"
MEMORY: Final = "memory"
UNLOADABLE: Final = "unloadable"
QUARANTINED: Final = "quarantined"
DUPLICATE: Final = "duplicate"
LATE: Final = "late"
INGRESS: Final = "ingress"
UNKNOWN: Final = "unknown"
UNKEPT: Final = "unkept"
ENDED: Final = "ended"
ANSWERED: Final = "answered"

# begin and heartbeat
RUN: Final = "run"
FENCED: Final = "fenced"
OK: Final = "ok"
RESYNC: Final = "resync"
TAKEN: Final = "taken"

# claim_load, refuse_load, order_copy, route_by_affinity; ORDERED and LOADING are phases of a load
CLAIMED: Final = "claimed"
SUSPECT: Final = "suspect"
STALE: Final = "stale"
UNWANTED: Final = "unwanted"
REFUSED: Final = "refused"
LATER: Final = "later"
HELD: Final = "held"
LOADING: Final = "loading"
ORDERED: Final = "ordered"
NO_WORKER: Final = "no_worker"
NO_CAPACITY: Final = "no_capacity"
RESTING: Final = "resting"
HERE: Final = "here"
ELSEWHERE: Final = "elsewhere"
NOWHERE: Final = "nowhere"

# Health of a worker, as it reports it; SUSPECT, above, is the third
HEALTHY: Final = "healthy"
SICK: Final = "sick"
HEALTH: Final = frozenset({HEALTHY, SUSPECT, SICK})

# retire and open_session
PINNED: Final = "pinned"
NEEDED: Final = "needed"
OPEN: Final = "open"
EXISTS: Final = "exists"
TOO_MANY: Final = "too_many"

_PLACING: Final = frozenset({PLACED, PARKED, FULL, UNLOADABLE, QUARANTINED})
PHASES: Final = frozenset({ORDERED, LOADING})
# What each script can answer; those that answer numbers or fields only are not listed.
ANSWERS: Final[Mapping[str, frozenset[str]]] = MappingProxyType({
    "place": _PLACING | {JOINED, MISMATCH, GONE, MEMORY, DUPLICATE, LATE},
    "replay": _PLACING | {INGRESS, UNKNOWN, UNKEPT},
    "cancel": TERMINAL | {UNKNOWN, GONE},
    "subscribe": frozenset({GONE, ENDED}),
    "publish_reply": frozenset({ANSWERED, LATE, REFUSED}),
    "begin": frozenset({RUN, EXPIRED, GONE, CANCELLED, FENCED}),
    "heartbeat": frozenset({OK, RESYNC, FENCED, TAKEN}),
    "claim_load": frozenset({CLAIMED, SUSPECT, STALE, UNWANTED, REFUSED, LATER, FENCED}),
    "refuse_load": frozenset({ORDERED, NO_WORKER, NO_CAPACITY, STALE}),
    "order_copy": PHASES | {HELD, UNLOADABLE, QUARANTINED, NO_WORKER, RESTING},
    "route_by_affinity": frozenset({HERE, ELSEWHERE, NOWHERE, STALE}),
    "retire": frozenset({PINNED, NEEDED}),
    "open_session": frozenset({OPEN, FULL, TOO_MANY, EXISTS}),
})  # fmt: skip
