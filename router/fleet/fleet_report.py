"""The document of GET /v2/residency, from replies of Redis: workers, models, loads. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from router.fleet.load_status import LoadState, explain_wait, seconds_between, time_of
from shared.names import ModelRef
from shared.redis_decode import number

TIERS = ("device", "host", "disk")
SETTINGS = ("pin", "priority")  # of a policy, as far as they are in Redis


class Reported(NamedTuple):
    """A worker's report of a copy: tier, bytes, ms since it was used, number of uses."""

    tier: str
    bytes: int
    idle_ms: float
    hits: int


class Part(NamedTuple):
    """A worker's report of the bytes of a copy on its device: its own, those of blobs shared with
    other copies, and the number of those."""

    own: int
    shared: int
    others: int


_Count = Annotated[float, Meta(ge=0, le=1 << 53)]
_REPORT = msgspec.json.Decoder(dict[str, tuple[str, _Count, _Count, _Count]])
_PARTS = msgspec.json.Decoder(dict[str, tuple[_Count, _Count, _Count]])


@dataclass(frozen=True)
class WorkerFacts:
    """A live worker: its record, the length of its work stream, its copies and loads."""

    id: str
    record: Mapping[str, str]
    queue: int = 0
    holds: frozenset[str] = frozenset()
    loads: frozenset[str] = frozenset()
    reported: Mapping[str, Reported] = field(default_factory=dict)
    parts: Mapping[str, Part] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelFacts:
    """A model version: `holders` worker -> 'tier bytes since', `near` worker -> 'tier epoch',
    `settings`: pin and priority as far as they are known."""

    holders: Mapping[str, str] = field(default_factory=dict)
    near: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    sessions: int = 0
    parked: int = 0
    load: LoadState | None = None

    @property
    def pinned(self) -> bool:
        """By the API or the manifest, or by a session."""
        return self.sessions > 0 or self.settings.get("pin") == "1"


def read_report(text: str) -> dict[str, Reported]:
    """The field `copies` of a worker's record; {} if it is absent or cannot be read."""
    try:
        rows = _REPORT.decode(text or "{}")
    except (msgspec.MsgspecError, RecursionError):
        return {}
    return {ref: Reported(t, int(b), idle, int(hits)) for ref, (t, b, idle, hits) in rows.items()}


def read_parts(text: str) -> dict[str, Part]:
    """The field `parts` of a worker's record; {} if it is absent or cannot be read."""
    try:
        rows = _PARTS.decode(text or "{}")
    except (msgspec.MsgspecError, RecursionError):
        return {}
    return {ref: Part(*map(int, row)) for ref, row in rows.items()}


def copy_on(worker: WorkerFacts, ref: str, model: ModelFacts, now_ms: int) -> dict[str, Any]:
    """A worker's copy of a model: tier and, as far as they are known, bytes (own, and shared with
    how many others), since, last use and hits. {} without one. Copies on the device are in the map,
    those in lower tiers in the worker's report."""
    reported = worker.reported.get(ref)
    held = model.holders.get(worker.id, "") if ref in worker.holds else ""
    row: dict[str, Any] = {}
    if held:
        tier, size, since_ms = [*held.split(" "), "0", "0"][:3]
        row = {"tier": tier, "bytes": int(number(size)), "since": time_of(number(since_ms))}
    elif reported is not None and reported.tier != "device":
        row = {"tier": reported.tier, "bytes": reported.bytes}
    else:
        tier, _, epoch = model.near.get(worker.id, "").partition(" ")
        if tier == "disk" or (tier and epoch == worker.record.get("epoch")):
            row = {"tier": tier}
    part = worker.parts.get(ref)
    if row.get("tier") == "device" and part is not None:
        row |= {"bytes": part.own + part.shared, "own_bytes": part.own}
        row |= {"shared_bytes": part.shared, "shared_with": part.others}
    if reported is not None and row.get("tier") == reported.tier:
        row["last_used"] = time_of(now_ms - reported.idle_ms)
        row["idle_s"] = seconds_between(0, reported.idle_ms)
        row["hits"] = reported.hits
    return row


def document(
    workers: Sequence[WorkerFacts], models: Mapping[str, ModelFacts], now_ms: int
) -> dict[str, Any]:
    """Workers with the copies of each, totals of each model, and loads in flight."""
    copies = _copies(workers, models, now_ms)
    tiers: dict[str, Counter[str]] = {ref: Counter() for ref in models}
    for held in copies.values():
        for ref, copy in held.items():
            tiers[ref][copy["tier"]] += 1
    rows = []
    for worker in workers:
        row: dict[str, Any] = {**worker_row(worker), "models": [], "near": []}
        for ref, copy in sorted(copies[worker.id].items()):
            shown = {**named(ref), **copy, **_totals(models[ref], tiers[ref])}
            row["models" if copy["tier"] == "device" else "near"].append(shown)
        rows.append(row)
    return {
        "workers": rows,
        "models": [_total(ref, model, tiers[ref]) for ref, model in models.items()],
        "loads": [
            {
                **named(ref),
                **model.load.document(now_ms),
                "waits": explain_wait(model.load, None, now_ms, len(workers)),
            }
            for ref, model in models.items()
            if model.load is not None
        ],
    }


def _copies(
    workers: Sequence[WorkerFacts], models: Mapping[str, ModelFacts], now_ms: int
) -> dict[str, dict[str, dict[str, Any]]]:
    """Copies by worker and ref. Only the models that a worker mentions are checked: workers times
    models would be too many."""
    mentioned = {worker.id: {*worker.holds, *worker.reported} for worker in workers}
    for ref, model in models.items():
        for worker_id in model.near:
            mentioned.get(worker_id, set()).add(ref)
    found = {
        worker.id: {
            ref: copy_on(worker, ref, models[ref], now_ms)
            for ref in mentioned[worker.id]
            if ref in models
        }
        for worker in workers
    }
    return {id: {ref: copy for ref, copy in rows.items() if copy} for id, rows in found.items()}


def worker_row(worker: WorkerFacts) -> dict[str, Any]:
    """The row of a worker. Bytes; ms; `busy` is a share of 1."""
    record = worker.record

    def whole(name: str) -> int:
        return int(number(record.get(name, "")))

    return {
        "id": worker.id,
        "device": record.get("device_name", ""),
        "class": record.get("device_class", ""),
        "state": record.get("state", ""),
        "budget_bytes": whole("budget_bytes"),
        "used_bytes": whole("used_bytes"),
        "shared_bytes": whole("shared_bytes"),
        "reserved_bytes": whole("reserved_bytes"),
        "host_budget_bytes": whole("host_budget_bytes"),
        "host_used_bytes": whole("host_used_bytes"),
        "queue": worker.queue,
        "service_ms": round(number(record.get("service_ms", "")), 3),
        "busy": round(number(record.get("busy_share", "")), 3),
        "max_models": whole("max_models") or None,
    }


def named(ref: str) -> dict[str, str]:
    """Name and version of a model."""
    name, _, rest = ref.partition(":")
    return {"name": name, "version": rest.partition(":")[0]}


def _totals(model: ModelFacts, tiers: Counter[str]) -> dict[str, Any]:
    shown: dict[str, Any] = {"pinned": model.pinned, "copies": tiers["device"]}
    if "priority" in model.settings:
        shown["priority"] = int(number(model.settings["priority"]))
    return shown


def _total(ref: str, model: ModelFacts, tiers: Counter[str]) -> dict[str, Any]:
    return {
        **named(ref),
        "digest": ModelRef.parse(ref).digest,
        "copies": {tier: tiers[tier] for tier in TIERS},
        "parked": model.parked,
        "pinned": model.pinned,
        "sessions": model.sessions,
    }
