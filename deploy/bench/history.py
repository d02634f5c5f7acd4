"""What the event log says about copies: which worker held what from when to when, what was loaded
twice, and which promises were broken.

Times are milliseconds of Redis's clock. Pure functions of events, but for `read_events`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import redis

from deploy.bench.traffic import TTL_S, Promise
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
    started: float
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
            started = at - (event.seconds or 0.0) * 1000
            open_at[key] = len(found)
            found.append(Stay(event.ref, event.worker, started, at))
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
            other.since <= copy.started < other.until
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
            min(other.since, copy.since) - max(other.started, copy.started) > slack_ms
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


def broken_promises(copies: Sequence[Stay], promises: Iterable[Promise]) -> list[str]:
    """Copies that went although they were pinned: of a pin any copy, of a session the last. An
    eviction may have started a little before its event says so."""
    found = []
    for promise in promises:
        until = promise.until
        if promise.kind == "session":
            until = min(until, promise.since + TTL_S * 1000)
        mine = [copy for copy in copies if copy.ref.partition(":")[0] == promise.model]
        for copy in mine:
            went = promise.since + WRITTEN_MS < copy.went_from and copy.until < until
            if went and not (promise.kind == "session" and _another(mine, copy)):
                found.append(
                    f"{copy.ref} left {copy.worker} ({copy.reason}) under a {promise.kind}"
                )
    return found


def loaded_twice_at_once(copies: Sequence[Stay]) -> list[str]:
    """Loads of one model by two workers at the same time."""
    return [f"{copy.ref} was loaded twice at once" for copy in concurrent_loads(copies)]


def _another(mine: Sequence[Stay], gone: Stay) -> bool:
    """Whether another worker held the model when this copy went."""
    return any(
        other.worker != gone.worker and other.since < gone.until < other.until for other in mine
    )
