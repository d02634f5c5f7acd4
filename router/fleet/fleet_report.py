"""The document of GET /v2/residency, from replies of Redis: workers, models, loads. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from router.fleet.load_status import LoadState, explain_wait, seconds_between, time_of
from shared.names import ModelRef
from shared.redis_decode import number
from shared.worker_report import WorkerReport

TIERS = ("device", "host", "disk")
SETTINGS = ("pin", "priority")  # of a policy, as far as they are in Redis


@dataclass(frozen=True)
class WorkerFacts:
    """A live worker: its epoch, what it reports, the length of its work stream, what it holds and
    loads."""

    id: str
    report: WorkerReport
    epoch: str = ""
    queue: int = 0
    holds: frozenset[str] = frozenset()
    loads: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ModelFacts:
    """A model version: `holders` worker -> 'tier bytes since', `warm` worker -> 'tier epoch',
    `settings`: pin and priority as far as they are known."""

    holders: Mapping[str, str] = field(default_factory=dict)
    warm: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    sessions: int = 0
    parked: int = 0
    load: LoadState | None = None

    @property
    def pinned(self) -> bool:
        """By the API or the manifest, or by a session."""
        return self.sessions > 0 or self.settings.get("pin") == "1"


def copy_on(worker: WorkerFacts, ref: str, model: ModelFacts, now_ms: int) -> dict[str, Any]:
    """A worker's copy of a model: tier and, as far as they are known, bytes (own, and shared with
    how many others), since, last use and hits. {} without one. Copies on the device are in the map,
    those in lower tiers in the worker's report."""
    reported = worker.report.copies.get(ref)
    held = model.holders.get(worker.id, "") if ref in worker.holds else ""
    row: dict[str, Any] = {}
    if held:
        tier, size, since_ms = [*held.split(" "), "0", "0"][:3]
        row = {"tier": tier, "bytes": int(number(size)), "since": time_of(number(since_ms))}
    elif reported is not None and reported.tier != "device":
        row = {"tier": reported.tier, "bytes": reported.bytes}
    else:
        tier, _, epoch = model.warm.get(worker.id, "").partition(" ")
        if tier == "disk" or (tier and epoch == worker.epoch):
            row = {"tier": tier}
    part = worker.report.copy_bytes.get(ref)
    if row.get("tier") == "device" and part is not None:
        row |= {"bytes": part.own_bytes + part.shared_bytes, "own_bytes": part.own_bytes}
        row |= {"shared_bytes": part.shared_bytes, "shared_with": part.others}
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
        row: dict[str, Any] = {**worker_row(worker), "models": [], "warm": []}
        for ref, copy in sorted(copies[worker.id].items()):
            shown = {**named(ref), **copy, **_totals(models[ref], tiers[ref])}
            row["models" if copy["tier"] == "device" else "warm"].append(shown)
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
    mentioned = {worker.id: {*worker.holds, *worker.report.copies} for worker in workers}
    for ref, model in models.items():
        for worker_id in model.warm:
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
    report = worker.report
    return {
        "id": worker.id,
        "device": report.device_name,
        "class": report.device_class,
        "state": report.state,
        "health": report.health,
        "health_reason": report.health_reason,
        "error_share": round(report.error_share, 3),
        "failing": report.failing,
        "budget_bytes": report.budget_bytes,
        "used_bytes": report.used_bytes,
        "shared_bytes": report.shared_bytes,
        "reserved_bytes": report.reserved_bytes,
        "host_budget_bytes": report.host_budget_bytes,
        "host_used_bytes": report.host_used_bytes,
        "queue": worker.queue,
        "service_ms": round(report.service_ms, 3),
        "busy": round(report.busy_share, 3),
        "max_models": report.max_models or None,
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
