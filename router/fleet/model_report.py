"""The document of GET /v2/models/{model}/residency, from what Redis said of one model. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from router.fleet import fleet_report
from router.fleet.fleet_report import ModelFacts, WorkerFacts
from router.fleet.load_status import failure, load_state, waits
from shared.keys import Keys
from shared.names import ModelRef
from shared.policy import Policy, effective
from shared.redis_decode import number, text_of, texts

LOADED_FROM = ("host", "disk", "remote")
OWN, SHARED = "own:", "shared:"
INDEPENDENT = "independent"  # as a worker's trial says it


def questions(keys: Keys, ref: str) -> dict[str, tuple[Any, ...]]:
    """What to ask Redis, by the names under which `document` wants the answers."""
    return {
        "holders": ("hgetall", keys.holders(ref)),
        "near": ("hgetall", keys.warm(ref)),
        "load": ("hgetall", keys.load(ref)),
        "parked": ("xlen", keys.parked(ref)),
        "policy": ("hgetall", keys.policy(ref)),
        "known": ("hgetall", keys.stats(ref)),
        "unloadable": ("get", keys.unloadable(ref)),
        "unloadable_ms": ("pttl", keys.unloadable(ref)),
        "sessions": ("smembers", keys.pinned(ref)),
        "breaker": ("hgetall", keys.breaker(ref)),
        "crowded": ("exists", keys.no_capacity(ref)),
        "unfit": ("smembers", keys.incompatible(ref)),
    }


def document(
    ref: ModelRef, given: Policy, said: Mapping[str, Any], workers: Sequence[WorkerFacts],
    now_ms: int, alive: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Copies and their tiers, what is loading or why not, and what rules all that. `alive`: how
    many workers are."""
    model = ModelFacts(texts(said["holders"]), texts(said["near"]))
    state = load_state(texts(said["load"]))
    failed = failure(text_of(said["unloadable"]), said["unloadable_ms"])
    overrides = texts(said["policy"])
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
        "waits": waits(state, failed, now_ms, alive) if state or said["parked"] else None,
        "parked": said["parked"],
        "policy": msgspec.to_builtins(effective(given, overrides)),
        "overrides": sorted(overrides),
        "learned": learned(texts(said["known"])),
        **tried(texts(said["known"])),
        "last_failure": None if failed is None else failed.document(),
        "quarantine": quarantine(texts(said["breaker"]), now_ms),
        "sessions": sorted(session.decode() for session in said["sessions"]),
        "crowded": bool(said["crowded"]),
        "unfit": sorted(name.decode() for name in said["unfit"]),
    }


def learned(known: Mapping[str, str]) -> dict[str, Any]:
    """What loads have shown: by device class bytes of its own, and of blobs that other models may
    share; ms to load it by tier."""
    return {
        "bytes": _by_class(known, OWN),
        "shared_bytes": _by_class(known, SHARED),
        "load_ms": {tier: round(number(known[tier]), 1) for tier in LOADED_FROM if tier in known},
    }


def _by_class(known: Mapping[str, str], kind: str) -> dict[str, int]:
    return {
        name.removeprefix(kind): int(number(text))
        for name, text in sorted(known.items())
        if name.startswith(kind)
    }


def tried(known: Mapping[str, str]) -> dict[str, str | None]:
    """What trials and the guard have found, each a reason or None: why its requests do not share
    batches, why it is not warmed up, and how it is not deterministic."""
    rows = known.get("rows", "")
    return {
        "unbatched": None if rows in ("", INDEPENDENT) else rows,
        "unwarmed": known.get("unwarmed") or None,
        "unsteady": known.get("repeats") or None,
    }


def quarantine(breaker: Mapping[str, str], now_ms: int) -> dict[str, Any] | None:
    """Crashes of workers over it, and whether it is quarantined; None without crashes."""
    if not breaker:
        return None
    left_ms = max(number(breaker.get(name, "")) for name in ("until", "probe_until")) - now_ms
    return {
        "open": left_ms > 0,
        "crashes": int(number(breaker.get("crashes", ""))),
        "cause": breaker.get("cause", ""),
        "seconds_left": round(max(left_ms, 0) / 1000, 1),
    }
