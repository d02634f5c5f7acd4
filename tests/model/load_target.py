"""The model of `lua/lib/load_target.lua` and of who is incompatible: pure looks at a state."""

from __future__ import annotations

import math
from collections.abc import Iterable

from tests.model.state import State

NEAR_TTL, KNOWN_TTL, DIRECT_TTL = 3_600_000, 604_800_000, 10_000
EXPECTED = {"host": 50.0, "disk": 200.0, "remote": 2000.0}


def live_workers(state: State, now: int) -> list[str]:
    """Those whose lease runs, in the order of their leases."""
    return [w for until, w in sorted((at, w) for w, at in state.leases.items()) if until > now]


def setting(state: State, ref: str, field: str) -> int:
    """What the API has set, else what was learned from the manifest."""
    own = state.policies.get(ref, {}).get(field)
    return int(own or state.stats.get(ref, {}).get(field) or 0)


def least_copies(state: State, ref: str) -> int:
    """Copies that are to be there although nobody asks."""
    least = max(setting(state, ref, "min_copies"), setting(state, ref, "preload"))
    return max(least, 1) if state.pinned.get(ref) else least


def number(state: State, worker: str, field: str) -> float:
    """A number of a worker's record."""
    return float(state.workers.get(worker, {}).get(field) or 0)


def wait_on(state: State, worker: str, queued: int) -> float:
    """How long the device is busy with what is queued, ms."""
    return queued * number(state, worker, "service_ms")


def tier_at(state: State, ref: str, worker: str) -> str:
    """The tier from which a worker would load `ref`."""
    tier, _, epoch = state.warm.get(ref, {}).get(worker, "remote").partition(" ")
    lost = tier == "host" and epoch != state.workers[worker].get("epoch")
    return "remote" if lost else tier


def soonest(state: State, now: int, ref: str, refused: Iterable[str]) -> tuple[str, float]:
    """The worker that has it before any could bring it from remote ('' if none), and when (ms;
    infinite if nobody could have it)."""
    known, refused = state.stats.get(ref, {}), set(refused)
    best = ("", math.inf)
    for worker in live_workers(state, now):
        if state.workers.get(worker, {}).get("state") == "ready" and worker not in refused:
            tier = tier_at(state, ref, worker)
            ms = float(known.get(tier, EXPECTED[tier]))
            ms += wait_on(state, worker, len(state.work.get(worker, {})))
            best = ("" if tier == "remote" else worker, ms) if ms < best[1] else best
    return best


def incompatible_workers(state: State, now: int, ref: str) -> set[str]:
    """Live workers of a device class on which it could not be loaded a short while ago."""
    classes = state.incompatible.get(ref, set())
    live = live_workers(state, now)
    return {w for w in live if state.workers.get(w, {}).get("device_class", "") in classes}
