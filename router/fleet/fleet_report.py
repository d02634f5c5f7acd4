"""The rows of GET /v2/residency, from replies of Redis: workers, models, loads. Pure.

Totals are of the whole fleet: of the workers on a page by what they report, of others by the map.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from router.fleet.facts import ModelFacts, WorkerFacts
from router.fleet.load_status import LoadState, explain_wait, seconds_between, time_of
from shared.names import ModelRef
from shared.redis_decode import number

TIERS = ("device", "host", "disk")

Row = dict[str, Any]


def copy_on(worker: WorkerFacts, ref: str, model: ModelFacts, now_ms: int) -> Row:
    """A worker's copy of a model: tier and, as far as they are known, bytes (own, and shared with
    how many others), since, last use and hits. {} without one. Copies on the device are in the map,
    those in lower tiers in the worker's report."""
    reported = worker.report.copies.get(ref)
    held = model.holders.get(worker.id, "") if ref in worker.holds else ""
    row: Row = {}
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
        # A worker whose copies are not used does not report them anew.
        used_ms = min(worker.copies_at or now_ms, now_ms) - reported.idle_ms
        row["last_used"] = time_of(used_ms)
        row["idle_s"] = seconds_between(used_ms, now_ms)
        row["hits"] = reported.hits
    return row


class Fleet:
    """What the rows of a page are made of. `epochs`: of all live workers that a model of the page
    mentions; `live`: how many there are in the cell.

    `workers` and `models` are taken out as their rows are made: to let go of all of them at once
    would stop the event loop for 15 ms.
    """

    def __init__(
        self, workers: list[WorkerFacts], models: dict[str, ModelFacts],
        epochs: Mapping[str, str], live: int, now_ms: int,
    ) -> None:  # fmt: skip
        self._workers = workers
        self._models = models
        self._epochs = epochs
        self._live = live
        self._now_ms = now_ms
        self._here = {worker.id for worker in workers}
        self._tiers: Counter[tuple[str, str]] = Counter()  # by model and tier
        # Once for each model: a copy of it is a row on each of its holders.
        self._copies: dict[str, int] = {}
        self._loads: dict[str, LoadState] = {}

    def worker_rows(self) -> Iterator[Row | None]:
        """A row for each worker; None between its copies: a pause may be made there."""
        mentioned: dict[str, set[str]] = {}
        for _ in self._mention(mentioned):
            yield None
        self._workers.reverse()
        while self._workers:
            worker = self._workers.pop()
            row: Row = {**worker_row(worker), "models": [], "warm": []}
            for ref in sorted(mentioned.pop(worker.id)):
                yield None
                model = self._models[ref]
                copy = copy_on(worker, ref, model, self._now_ms)
                if copy:
                    self._tiers[ref, copy["tier"]] += 1
                    shown = {**named(ref), **copy, **self._totals(ref, model)}
                    row["models" if copy["tier"] == "device" else "warm"].append(shown)
            yield row

    def model_rows(self) -> Iterator[Row]:
        """Totals of each model. After `worker_rows`, which counts the copies on the page."""
        for ref in list(self._models):
            model = self._models.pop(ref)
            if model.load is not None:
                self._loads[ref] = model.load
            elsewhere = self._elsewhere(model)
            yield {
                **named(ref),
                "digest": ModelRef.parse(ref).digest,
                "copies": {tier: self._tiers[ref, tier] + elsewhere[tier] for tier in TIERS},
                "parked": model.parked,
                "pinned": model.pinned,
                "sessions": model.sessions,
            }

    def load_rows(self) -> Iterator[Row]:
        """Loads in flight. After `model_rows`."""
        for ref, load in self._loads.items():
            waits = explain_wait(load, None, self._now_ms, self._live)
            yield {**named(ref), **load.document(self._now_ms), "waits": waits}

    def _mention(self, found: dict[str, set[str]]) -> Iterator[None]:
        """Models by the workers of the page that mention them: workers times models would be too
        many to look at."""
        known = self._models.keys()
        for worker in self._workers:
            found[worker.id] = known & (worker.holds | worker.report.copies.keys())
            yield
        for ref, model in self._models.items():
            for name in model.warm.keys() & self._here:
                found[name].add(ref)
            yield

    def _elsewhere(self, model: ModelFacts) -> Counter[str]:
        """Copies by tier on live workers that are not on the page."""
        tiers: Counter[str] = Counter()
        for worker in (model.holders.keys() | model.warm.keys()) - self._here:
            if worker not in self._epochs:
                continue
            tier, _, epoch = model.warm.get(worker, "").partition(" ")
            if worker in model.holders:
                tiers["device"] += 1
            elif tier == "disk" or epoch == self._epochs[worker]:
                tiers[tier] += 1
        return tiers

    def _totals(self, ref: str, model: ModelFacts) -> Row:
        copies = self._copies.get(ref)
        if copies is None:
            copies = self._copies[ref] = len(model.holders.keys() & self._epochs.keys())
        shown: Row = {"pinned": model.pinned, "copies": copies}
        if "priority" in model.settings:
            shown["priority"] = int(number(model.settings["priority"]))
        return shown


def worker_row(worker: WorkerFacts) -> Row:
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
