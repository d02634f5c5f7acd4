"""What clients do with sessions, each with what must come of it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from tests.model.clock import grace_of
from tests.model.copies import lasting
from tests.model.load_target import live_workers, number, rank_of, setting
from tests.model.model import Model
from tests.model.prediction import STALL_SPARE, must
from tests.model.run import COPY_BYTES, Choices, Run

MOST, SICK = 2, 2
TTLS, SIZES = (300, 3000, 20_000), (40, 60, 90)
Pair = tuple[str, int]


class Room(NamedTuple):
    """What a worker can still give to models that are to stay."""

    bytes: int
    models: float

    def without(self, size: int) -> Room:
        """With one model more."""
        left = self.bytes - size
        return Room(left if self.models > 1 else min(left, 0), self.models - 1)


def models_of(m: Model, session: str) -> list[Pair]:
    """A session's models with their bytes."""
    parts = m.state.pins.get(session, {}).get("models", "").split()
    return list(zip(parts[::2], map(int, parts[1::2]), strict=True))


def end_session(m: Model, session: str) -> int:
    """Its models are free again; 1 if there was one."""
    for ref, _ in models_of(m, session):
        m.state.pinned.get(ref, set()).discard(session)
    m.forget(f"session:{session}")
    return 1 if m.state.sessions.pop(session, None) else 0


def unpin_lost(m: Model, ref: str) -> None:
    """Where nobody ended a session in time, nothing says what it had pinned."""
    m.state.pinned.get(ref, set()).intersection_update(m.state.sessions)


def fit(m: Model, models: list[Pair]) -> dict[str, str] | tuple[str, int, int]:
    """Where each stays: what a worker holds or loads stays there; the rest, largest first, goes to
    the one with the most room. What a policy has pinned stays too. Or which has no room, its bytes,
    and the most that is left on one."""
    free = _room(m, {ref for ref, _ in models})
    chosen = {}
    in_order = sorted(models, key=lambda pair: (-pair[1], pair[0]))
    for ref, size in in_order:
        load, holders = m.state.loads.get(ref), m.state.holders.get(ref, set())
        there = [w for w in free if w in holders or (load and load.worker == w)]
        if _best_rank(m, free, ref) < SICK:
            there = [w for w in there if rank_of(m.state, w, ref) < SICK]
        if there:
            chosen[ref] = there[0]
            free[there[0]] = free[there[0]].without(size)
    for ref, size in in_order:
        if ref in chosen:
            continue
        rank = _best_rank(m, free, ref)
        healthiest = [w for w in free if rank_of(m.state, w, ref) == rank]
        if len(healthiest) < len(free):
            m.note("open_session: outranked")
        best = max(healthiest, key=lambda worker: free[worker].bytes, default="")
        if not best or free[best].bytes < size:
            return ref, size, max([0, *(free[w].bytes for w in healthiest)])
        chosen[ref] = best
        free[best] = free[best].without(size)
    return chosen


def _best_rank(m: Model, workers: Iterable[str], ref: str) -> int:
    return min((rank_of(m.state, worker, ref) for worker in workers), default=0)


def _room(m: Model, apart: set[str]) -> dict[str, Room]:
    """Of each ready worker, without what a policy has pinned there beside the models `apart`."""
    free = {}
    for worker in live_workers(m.state, m.now):
        if m.state.workers.get(worker, {}).get("state") != "ready":
            continue
        held = m.state.holds.get(worker, set()) - apart
        pinned = sum(setting(m.state, ref, "pin") == 1 for ref in held)
        most = number(m.state, worker, "max_models") or math.inf
        left = number(m.state, worker, "budget_bytes") - COPY_BYTES * pinned
        free[worker] = Room(int(left) if pinned < most else 0, most - pinned)
    return free


async def open_session(run: Run, c: Choices) -> None:
    """A client pins a set of models."""
    session, ttl = c.of(("s1", "s2", "s3")), c.of(TTLS)
    refs = c.some(run.refs, 2)
    models = [(ref, c.of(SIZES)) for ref in refs]
    answer, m = await run.call(
        f"open_session {session} {ttl} {models}",
        run.scripts.open_session(session, ttl, MOST, models),
    )
    want = _opened(m, session, ttl, models)
    must(answer == want, f"open_session says {answer}, not {want}")
    run.count("open_session", answer.status)
    run.check("open_session", m)


def _opened(m: Model, session: str, ttl: int, models: list[Pair]) -> tuple[str, tuple[str, ...]]:
    if m.state.sessions.get(session, 0) > m.now:
        return "exists", (str(m.state.sessions[session]),)
    end_session(m, session)
    if len(m.state.sessions) >= MOST:
        return "too_many", (str(len(m.state.sessions)),)
    asked = dict(models)
    for until, other in sorted((until, other) for other, until in m.state.sessions.items()):
        for ref, size in models_of(m, other) if until > m.now else ():
            asked.setdefault(ref, size)
    where = fit(m, list(asked.items()))
    if isinstance(where, tuple):
        return "full", tuple(str(part) for part in where)
    m.state.sessions[session] = m.now + ttl
    text = " ".join(f"{ref} {size}" for ref, size in models)
    m.state.pins[session] = {"models": text, "ttl": str(ttl)}
    m.lives(f"session:{session}", ttl + STALL_SPARE)
    for ref, _ in models:
        m.state.pinned.setdefault(ref, set()).add(session)
        m.state.min_copies.add(ref)
        held = lasting(m, ref) or where[ref] in m.state.holders.get(ref, ())
        missing = not held and ref not in m.state.loads
        if missing and m.breaker(ref) != "open" and ref not in m.state.unloadable:
            m.order(ref, (), "session", where[ref])
    return "open", (str(m.now + ttl),)


async def keep_session(run: Run, c: Choices) -> None:
    """Its client lives."""
    session, ttl = c.of([*run.state.sessions, "s1"]), c.of((None, *TTLS))
    answer, m = await run.call(
        f"keep_session {session} {ttl}", run.scripts.keep_session(session, ttl)
    )
    kept = session in m.state.sessions and session in m.state.pins
    if kept and m.state.sessions[session] <= m.now:
        kept = bool(grace_of(m))
    ttl = ttl or int(m.state.pins.get(session, {}).get("ttl", 0))
    must(answer == (m.now + ttl if kept else 0), f"keep_session says {answer}")
    if kept:
        late = m.state.sessions[session] <= m.now
        m.state.sessions[session] = m.now + ttl
        m.lives(f"session:{session}", ttl + STALL_SPARE)
        run.count("keep_session", "late" if late else "kept")
    else:
        run.count("keep_session", "ended")
    run.check("keep_session", m)


async def close_session(run: Run, c: Choices) -> None:
    """Its client goes."""
    session = c.of([*run.state.sessions, "s1"])
    answer, m = await run.call(f"close_session {session}", run.scripts.close_session(session))
    there = session in m.state.sessions
    must(answer == there, f"close_session says {answer}")
    end_session(m, session)
    run.count("close_session", "closed" if there else "none")
    run.check("close_session", m)
