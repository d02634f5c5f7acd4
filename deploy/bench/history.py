"""What the event log says about copies: who held what from when to when, and what was loaded twice.

Times are milliseconds of Redis's clock. Pure functions of events, but for `read_events`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import redis

from shared.events import Event, decode
from shared.keys import Keys

CAME = frozenset({"loaded", "promoted"})
WENT = frozenset({"evicted", "demoted", "unloaded"})
WRITTEN_MS = 50.0


@dataclass(frozen=True)
class Stay:
    """One copy on one worker's device: its load began, it was there, it went."""

    ref: str
    worker: str
    begun: float
    since: float
    until: float = math.inf
    went_from: float = math.inf  # when its eviction began
    reason: str = ""  # why it went


def read_events(client: redis.Redis, keys: Keys, after: str = "0") -> list[Event]:
    """The events that were written after the one with id `after`, oldest first."""
    rows = cast(
        list[tuple[bytes, dict[bytes, bytes]]],
        client.xrange(keys.events, f"({after}" if after != "0" else "-", "+"),
    )
    return [decode(entry, fields) for entry, fields in rows]


def stays(events: Iterable[Event]) -> list[Stay]:
    """Every copy that was on a device, in the order in which they came."""
    found: list[Stay] = []
    open_at: dict[tuple[str, str], int] = {}
    for event in events:
        at, key = time_of(event), (event.worker, event.ref)
        if event.kind in CAME:
            begun = at - (event.seconds or 0.0) * 1000
            open_at[key] = len(found)
            found.append(Stay(event.ref, event.worker, begun, at))
        elif event.kind in WENT and event.tier_to != "device" and key in open_at:
            _end(found, open_at.pop(key), event)
        elif event.kind == "restarted":
            for other in [one for one in open_at if one[0] == event.worker]:
                _end(found, open_at.pop(other), event)
    return found


def double_loads(copies: Sequence[Stay]) -> list[Stay]:
    """Copies whose load began while another worker held the model."""
    return [
        copy
        for copy in copies
        if any(
            other.since <= copy.begun < other.until
            for other in copies
            if other.ref == copy.ref and other.worker != copy.worker
        )
    ]


def concurrent_loads(copies: Sequence[Stay], slack_ms: float = WRITTEN_MS) -> list[Stay]:
    """Copies whose load ran while another worker, too, was loading the model, by more than the
    time that an event may take to be written."""
    return [
        copy
        for at, copy in enumerate(copies)
        if any(
            min(other.since, copy.since) - max(other.begun, copy.begun) > slack_ms
            for other in copies[:at]
            if other.ref == copy.ref and other.worker != copy.worker
        )
    ]


def time_of(event: Event) -> float:
    """When it happened, ms."""
    return event.position[0] - (event.late_s or 0.0) * 1000


def _end(found: list[Stay], place: int, event: Event) -> None:
    at = time_of(event)
    went_from = at - (event.seconds or 0.0) * 1000
    reason = event.reason or event.kind
    found[place] = replace(found[place], until=at, went_from=went_from, reason=reason)
