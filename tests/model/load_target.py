"""The model of `lua/lib/load_target.lua` and of who is incompatible: pure looks at a state."""

from __future__ import annotations

import math
from collections.abc import Iterable

from tests.model.state import State

NEAR_TTL, KNOWN_TTL, DIRECT_TTL = 3_600_000, 604_800_000, 10_000
RANKS, NOBODY = {"healthy": 0, "suspect": 1, "sick": 2}, 9
SPARE = 0.7  # a device that is less busy, as a share of time, can take more work
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


def rank_of(state: State, worker: str, ref: str) -> int:
    """How far it is passed over: 0 healthy, 1 suspect or the model fails there, 2 sick."""
    health, *failing = state.unhealthy.get(worker, "healthy").split()
    return max(RANKS[health], int(ref in failing))


def soonest(state: State, now: int, ref: str, refused: Iterable[str]) -> tuple[str, float, int]:
    """The worker that has it before any could bring it from remote ('' if none), when (ms;
    infinite if nobody could have it), and its rank: the healthiest come first."""
    known, refused = state.stats.get(ref, {}), set(refused)
    best = ("", math.inf, NOBODY)
    for worker in live_workers(state, now):
        if state.workers.get(worker, {}).get("state") == "ready" and worker not in refused:
            tier = tier_at(state, ref, worker)
            ms = float(known.get(tier, EXPECTED[tier]))
            ms += wait_on(state, worker, len(state.work.get(worker, {})))
            rank = rank_of(state, worker, ref)
            if (rank, ms) < (best[2], best[1]):
                best = ("" if tier == "remote" else worker, ms, rank)
    return best


def failure_of(state: State, ref: str, worker: str) -> tuple[int, int]:
    """Until when a worker is not asked to load it, and how often it has failed; (0, 0) if it has
    not. Of a worker that was started again since: until then."""
    text = state.failed_on.get(ref, {}).get(worker, "0 0")
    ends, times, *rest = text.partition("\n")[0].split(" ")
    record, parent = state.workers.get(worker, {}), [*rest, "", "", ""][2]
    if parent and record.get("parent", parent) != parent:
        return min(int(ends), int(record["since"])), 0
    return int(ends), int(times)


def failed_workers(state: State, now: int, ref: str) -> list[str]:
    """Workers that could not load it, and are not to be asked again yet."""
    failures = state.failed_on.get(ref, {})
    return sorted(worker for worker in failures if failure_of(state, ref, worker)[0] > now)


def excluded(
    state: State,
    now: int,
    ref: str,
    refused: Iterable[str],
    extra: str = "",
    larger: int = 0,
    retry: bool = False,
) -> frozenset[str]:
    """Who is not to load it: its holders, those that are `refused`, that could not a short while
    ago, or are of an incompatible class, and to share the work of others who has no time; with
    `larger` who has as small a budget."""
    out = set(refused) | state.holders.get(ref, set())
    if not retry:
        out |= set(failed_workers(state, now, ref)) | incompatible_workers(state, now, ref)
    if larger:
        out |= {w for w in state.workers if number(state, w, "budget_bytes") <= larger}
    if extra == "scale_out":
        out |= {w for w in state.workers if not has_time(state, w)}
    return frozenset(out)


def has_time(state: State, worker: str) -> bool:
    """Whether it can share the work of others: its models do not push each other out already."""
    contended = number(state, worker, "contended") == 1
    return not contended and number(state, worker, "busy_share") < SPARE


def is_one_left(
    state: State, now: int, ref: str, refused: Iterable[str], extra: str = "", larger: int = 0
) -> bool:
    """Whether another worker may be asked that is not sick."""
    out = excluded(state, now, ref, refused, extra, larger)
    return soonest(state, now, ref, out)[2] < RANKS["sick"]


def incompatible_workers(state: State, now: int, ref: str) -> set[str]:
    """Live workers of a device class on which it could not be loaded a short while ago."""
    classes, live = state.incompatible.get(ref, set()), live_workers(state, now)
    return {w for w in live if state.workers.get(w, {}).get("device_class", "") in classes}
