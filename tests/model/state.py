"""All that a cell holds in Redis, as plain values: what the model predicts and what is there."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import NamedTuple

Pending = dict[str, str]  # entry -> consumer


class Item(NamedTuple):
    """A request in a stream."""

    id: str
    ref: str
    deadline: int
    reply: str
    flags: str
    attempts: int
    body: str


class Load(NamedTuple):
    """A load lease."""

    token: str
    phase: str
    worker: str
    since: int
    refused: frozenset[str]
    extra: str = ""
    chosen: str = ""  # the worker that has a head start
    why: str = ""
    handed_on: str = ""
    cause: str = ""  # the cause that who waits is being told
    until: int = 0  # the end of a renewed lease
    larger: int = 0  # a budget that it does not fit
    all_failed: bool = False  # whoever could not load it may try again
    queued: int = 0  # since when its order has waited in the cold queue


@dataclass
class State:
    """One cell. Streams are dicts in their order. `expires` has the end of every key with a
    lifetime, by its name without the prefix, in ms of the tests' clock."""

    leases: dict[str, int] = field(default_factory=dict)
    workers: dict[str, dict[str, str]] = field(default_factory=dict)
    holders: dict[str, set[str]] = field(default_factory=dict)
    holds: dict[str, set[str]] = field(default_factory=dict)
    work: dict[str, dict[str, Item]] = field(default_factory=dict)
    queued: dict[str, dict[str, str]] = field(default_factory=dict)  # what `work` has, by model
    groups: dict[str, set[str]] = field(default_factory=dict)
    pending: dict[str, set[str]] = field(default_factory=dict)
    started: dict[str, dict[str, str]] = field(default_factory=dict)
    parked: dict[str, dict[str, Item]] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)
    loads: dict[str, Load] = field(default_factory=dict)
    loading: dict[str, set[str]] = field(default_factory=dict)
    orders: list[str] = field(default_factory=list)  # the cold queue
    waits: dict[str, int] = field(default_factory=dict)  # its index
    jobs: set[str] = field(default_factory=set)
    unloadable: dict[str, str] = field(default_factory=dict)
    refused_models: dict[str, int] = field(default_factory=dict)
    breakers: dict[str, dict[str, str]] = field(default_factory=dict)
    gateways: dict[str, int] = field(default_factory=dict)
    protocols: dict[str, str] = field(default_factory=dict)  # of gateways
    rows: dict[str, str] = field(default_factory=dict)  # of pairs of protocol numbers
    replies: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    records: dict[str, dict[str, str]] = field(default_factory=dict)
    tombstone: set[str] = field(default_factory=set)
    idempotency: dict[str, tuple[str, str]] = field(default_factory=dict)
    deadlines: dict[str, int] = field(default_factory=dict)
    withdrawn: dict[str, int] = field(default_factory=dict)
    ingress: dict[str, dict[str, str]] = field(default_factory=dict)
    ingress_pending: Pending = field(default_factory=dict)
    outbox: dict[str, dict[str, str]] = field(default_factory=dict)
    outbox_pending: Pending = field(default_factory=dict)
    dead_letters: dict[str, dict[str, str]] = field(default_factory=dict)
    kept: dict[str, list[str]] = field(default_factory=dict)  # by kind
    kept_bytes: dict[str, str] = field(default_factory=dict)
    failures: dict[str, dict[str, str]] = field(default_factory=dict)
    failures_pending: Pending = field(default_factory=dict)
    # by kind and generation; "" has the newest of each
    outcomes: dict[str, dict[str, str]] = field(default_factory=dict)
    answers: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    reply_streams: set[str] = field(default_factory=set)  # made by the cell, by sha1
    policies: dict[str, dict[str, str]] = field(default_factory=dict)
    stats: dict[str, dict[str, str]] = field(default_factory=dict)
    loaded_versions: dict[str, dict[str, str]] = field(
        default_factory=dict
    )  # by name: version -> digest
    warm: dict[str, dict[str, str]] = field(default_factory=dict)
    leaving: dict[str, dict[str, str]] = field(default_factory=dict)
    told: dict[str, list[str]] = field(default_factory=dict)  # orders by name; sorted
    min_copies: set[str] = field(default_factory=set)
    sessions: dict[str, int] = field(default_factory=dict)
    pins: dict[str, dict[str, str]] = field(default_factory=dict)  # by session
    pinned: dict[str, set[str]] = field(default_factory=dict)
    reserved: dict[str, str] = field(default_factory=dict)  # room for sessions, by ref
    no_capacity: dict[str, str] = field(default_factory=dict)
    incompatible: dict[str, set[str]] = field(default_factory=dict)
    failed_on: dict[str, dict[str, str]] = field(default_factory=dict)
    crashed: dict[str, dict[str, str]] = field(default_factory=dict)
    unhealthy: dict[str, str] = field(default_factory=dict)
    ready: dict[str, dict[str, float]] = field(default_factory=dict)  # by class: worker -> busy
    device_classes: set[str] = field(default_factory=set)
    affinity: dict[str, set[str]] = field(default_factory=dict)
    clock: str = ""  # seen until, offset, end of the grace, lease
    expires: dict[str, int] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)

    def differences(self, actual: State) -> list[str]:
        """Where this, the prediction, and what is differ."""
        out = []
        for part in _PARTS:
            expected, found = getattr(self, part), getattr(actual, part)
            streams = part in _STREAMS
            if expected == found and not (streams and _order(expected) != _order(found)):
                continue
            keys = expected.keys() | found.keys() if isinstance(expected, dict) else ()
            for key in keys:
                if expected.get(key) != found.get(key) or streams:
                    out.append(f"{part}[{key}]: want {expected.get(key)}, is {found.get(key)}")
            if not keys:
                out.append(f"{part}: want {expected}, is {found}")
        return out


_PARTS = tuple(part.name for part in fields(State))
_STREAMS = ("work", "parked")


def _order(streams: dict[str, dict[str, Item]]) -> dict[str, list[str]]:
    """Dicts compare without their order; that of entries in a stream matters."""
    return {name: list(entries) for name, entries in streams.items()}
