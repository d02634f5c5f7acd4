"""The model of `lua/lib/copies.lua`: when to order another copy, and which copy may go."""

from __future__ import annotations

from tests.model import load_target
from tests.model.load_target import SPARE, setting
from tests.model.model import Model
from tests.model.prediction import must

SPILL_FROM, NO_CAPACITY_MS, LOOK_AGAIN_MS = 4, 5000, 250


def could_be_more(m: Model, ref: str) -> bool:
    """Whether another copy may be ordered, and somebody is there who could have it. That this
    script itself has just found nobody does not count."""
    if ref in m.state.loads or ref in m.state.unloadable:
        return False
    if ref in m.state.no_capacity and ref not in m.found_nobody:
        return False
    held, most = len(m.live_holders(ref)), setting(m.state, ref, "max_copies")
    if 0 < most <= held:
        m.note("copies: at most")
        return False
    return len(load_target.live_workers(m.state, m.now)) > held


def spill(m: Model, ref: str, worker: str, queued: int, sure: bool) -> None:
    """A request finds `queued` others on the least loaded holder: another copy, if it were sooner.

    Looked at again, in one script, at twice the queue. Where it is not `sure` which holder the
    script looked at, or in what order, the script's decision is taken over.
    """
    if queued < max(SPILL_FROM, 2 * m.looked.get(ref, 0)):
        return None
    m.looked[ref] = queued
    wait = load_target.wait_on(m.state, worker, queued)
    if (sure and wait <= 0) or not could_be_more(m, ref):
        return None
    holders = m.live_holders(ref)
    healthy = [w for w in holders if load_target.rank_of(m.state, w, ref) == 0]
    if any(load_target.number(m.state, w, "busy_share") < SPARE for w in healthy):
        return m.note("copies: a holder has time")
    out = load_target.excluded(m.state, m.now, ref, (), "scale_out")
    _, ms, rank = load_target.soonest(m.state, m.now, ref, out)
    sooner = wait > ms and rank == 0
    if not sure:
        load = m.after.loads.get(ref)
        sooner = load is not None and load.extra == "scale_out"
    if sooner:
        m.order(ref, extra="scale_out")
    elif sure or ref in m.after.no_capacity:
        m.found_nobody.add(ref)
        _rest(m, ref, LOOK_AGAIN_MS, holders)
    return m.note("copies: spilled" if sooner else "copies: not sooner")


def _rest(m: Model, ref: str, ms: int, holders: set[str]) -> None:
    """Nobody can take a further copy: it is not looked at again for a while."""
    m.state.no_capacity[ref] = m.after.no_capacity.get(ref, "nobody")
    must(m.state.no_capacity[ref] in holders, "no_capacity names a holder")
    m.lives(f"no_capacity:{ref}", ms)


def must_stay(m: Model, ref: str, worker: str, share: float | None) -> str:
    """Why this copy is not to be evicted: `pinned`, `needed` or ''."""
    others = lasting(m, ref) - {worker}
    free = sum(max(0.0, SPARE - load_target.number(m.state, w, "busy_share")) for w in others)
    if setting(m.state, ref, "pin") == 1 or (not others and m.state.pinned.get(ref)):
        return "pinned"
    if len(others) < load_target.least_copies(m.state, ref):
        return "needed"
    if 0 < setting(m.state, ref, "max_copies") <= len(others):
        return ""
    return "needed" if share is not None and (not others or share > free) else ""


def lasting(m: Model, ref: str) -> set[str]:
    """Live holders that are not about to leave."""
    return {w for w in m.live_holders(ref) if load_target.rank_of(m.state, w, ref) < 2}


def stays_with(m: Model, ref: str, rank: int) -> bool:
    """All holders are unhealthy, the best of this rank: whether it serves on. Perhaps a healthy
    copy is ordered."""
    holders, sick = m.live_holders(ref), rank == 2
    if ref in m.state.unloadable:
        return True
    if not sick and (len(holders) > 1 or setting(m.state, ref, "max_copies") == 1):
        m.note("healthy_copy: two agree")
        return True
    return not ((ref in m.state.loads or _order_healthy(m, ref, holders)) and sick)


def _order_healthy(m: Model, ref: str, holders: set[str]) -> bool:
    if ref in m.state.no_capacity:
        return False
    out = load_target.excluded(m.state, m.now, ref, (), "unhealthy")
    if load_target.soonest(m.state, m.now, ref, out)[2] > 0:
        _rest(m, ref, NO_CAPACITY_MS, holders)
        m.note("healthy_copy: nobody is healthy")
        return False
    m.order(ref, extra="unhealthy")
    m.note("healthy_copy: ordered")
    return True


def order_missing(m: Model, ref: str, why: str) -> bool:
    """One more copy where it may be."""
    if not could_be_more(m, ref) or m.breaker(ref) == "open":
        return False
    m.order(ref, extra=why)
    return True
