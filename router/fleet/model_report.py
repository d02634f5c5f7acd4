"""The document of GET /v2/models/{model}/residency, from replies of Redis. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from router.fleet import fleet_report
from router.fleet.facts import ModelFacts, WorkerFacts
from router.fleet.load_status import (
    crashed_workers,
    explain_wait,
    failure,
    failures_by_worker,
    holders_that_go_on,
    load_state,
)
from shared.keys import Keys
from shared.names import ModelRef
from shared.policy import Policy, effective
from shared.redis_decode import number, text_of, texts

LOADED_FROM = ("host", "disk", "remote")
OWN, SHARED = "own:", "shared:"
INDEPENDENT = "independent"  # as a worker's trial records it


def commands(keys: Keys, ref: str) -> dict[str, tuple[Any, ...]]:
    """The commands for Redis, by the names under which `document` takes the replies."""
    return {
        "holders": ("HGETALL", keys.holders(ref)),
        "warm": ("HGETALL", keys.warm(ref)),
        "load": ("HGETALL", keys.load(ref)),
        "parked": ("XLEN", keys.parked(ref)),
        "policy": ("HGETALL", keys.policy(ref)),
        "known": ("HGETALL", keys.stats(ref)),
        "unloadable": ("GET", keys.unloadable(ref)),
        "unloadable_ms": ("PTTL", keys.unloadable(ref)),
        "sessions": ("SMEMBERS", keys.pinned(ref)),
        "breaker": ("HGETALL", keys.breaker(ref)),
        "no_capacity": ("EXISTS", keys.no_capacity(ref)),
        "incompatible": ("SMEMBERS", keys.incompatible(ref)),
        "failed_on": ("HGETALL", keys.failed_on(ref)),
    }


def document(
    ref: ModelRef, given: Policy, replies: Mapping[str, Any], workers: Sequence[WorkerFacts],
    now_ms: int, alive: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Copies and their tiers, the load under way or the last failure, and the policy. `alive`: the
    number of live workers."""
    model = ModelFacts(texts(replies["holders"]), texts(replies["warm"]))
    state = load_state(texts(replies["load"]))
    failed = failure(text_of(replies["unloadable"]), replies["unloadable_ms"])
    overrides = texts(replies["policy"])
    holders = [worker.id for worker in workers if worker.id in model.holders]
    copies = [
        {"worker": worker.id, **copy}
        for worker in workers
        if (copy := fleet_report.copy_on(worker, str(ref), model, now_ms))
    ]
    return {
        **fleet_report.named(str(ref)),
        "digest": ref.digest,
        "copies": copies,
        "load": None if state is None else state.document(now_ms),
        "waits": explain_wait(state, failed, now_ms, alive) if state or replies["parked"] else None,
        "parked": replies["parked"],
        "policy": msgspec.to_builtins(effective(given, overrides)),
        "overrides": sorted(overrides),
        "learned": learned(texts(replies["known"])),
        **tried(texts(replies["known"])),
        "last_failure": None if failed is None else failed.document(),
        "quarantine": quarantine(texts(replies["breaker"]), holders, now_ms),
        "sessions": sorted(session.decode() for session in replies["sessions"]),
        "no_capacity": bool(replies["no_capacity"]),
        "incompatible": sorted(name.decode() for name in replies["incompatible"]),
        "failed_on": failures_by_worker(texts(replies["failed_on"]), now_ms),
    }


def learned(stats: Mapping[str, str]) -> dict[str, Any]:
    """Statistics of loads: own bytes, and bytes of blobs that other models may share, by device
    class; ms of a load by tier."""
    return {
        "bytes": _by_class(stats, OWN),
        "shared_bytes": _by_class(stats, SHARED),
        "load_ms": {tier: round(number(stats[tier]), 1) for tier in LOADED_FROM if tier in stats},
    }


def _by_class(stats: Mapping[str, str], kind: str) -> dict[str, int]:
    return {
        name.removeprefix(kind): int(number(text))
        for name, text in sorted(stats.items())
        if name.startswith(kind)
    }


def tried(stats: Mapping[str, str]) -> dict[str, str | None]:
    """Findings of trials and the guard, each a reason or None: why requests do not share batches,
    why the model is not warmed up, and how it is not deterministic."""
    rows = stats.get("rows", "")
    return {
        "unbatched": None if rows in ("", INDEPENDENT) else rows,
        "unwarmed": stats.get("unwarmed") or None,
        "unsteady": stats.get("repeats") or None,
    }


def quarantine(
    breaker: Mapping[str, str], holders: Sequence[str], now_ms: int
) -> dict[str, Any] | None:
    """Crashes of workers by this model, whether it is quarantined, and which of its live holders
    go on meanwhile (`served_by`); None without crashes."""
    if not breaker:
        return None
    left_ms = max(number(breaker.get(name, "")) for name in ("until", "probe_until")) - now_ms
    is_open = left_ms > 0
    return {
        "open": is_open,
        "served_by": holders_that_go_on(breaker, holders, now_ms) if is_open else [],
        "crashes": int(number(breaker.get("crashes", ""))),
        "workers": crashed_workers(breaker),
        "cause": breaker.get("cause", ""),
        "seconds_left": round(max(left_ms, 0) / 1000, 1),
    }
