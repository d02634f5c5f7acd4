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
        if not m.state.pinned.get(ref):
            free_room(m, ref)
    m.forget(f"session:{session}")
    return 1 if m.state.sessions.pop(session, None) else 0


def unpin_lost(m: Model, ref: str) -> None:
    """Where nobody ended a session in time, nothing says what it had pinned."""
    pins = m.state.pinned.get(ref, set())
    if pins and not pins & m.state.sessions.keys():
        free_room(m, ref)
    pins.intersection_update(m.state.sessions)


def reservation(m: Model, ref: str) -> tuple[str, int]:
    """The worker on which a model has its room ('' if that process has gone), and the bytes."""
    worker, epoch, size = m.state.reserved.get(ref, "  0").split(" ")
    return worker if worker and m.epoch_is(worker, epoch) else "", int(size)


def free_room(m: Model, ref: str) -> None:
    """It needs none any more."""
    worker, size = reservation(m, ref)
    if worker:
        _add_room(m, worker, -size, -1)
    m.state.reserved.pop(ref, None)


def reserve(m: Model, ref: str, worker: str, size: int) -> None:
    """Here it has its room, and nowhere else."""
    free_room(m, ref)
    m.state.reserved[ref] = f"{worker} {m.state.workers[worker]['epoch']} {size}"
    _add_room(m, worker, size, 1)


def _add_room(m: Model, worker: str, size: int, models: int) -> None:
    record = m.state.workers[worker]
    for name, change in (("for_sessions", size), ("session_models", models)):
        record[name] = str(int(record.get(name, 0)) + change)


def keep_room(m: Model, ref: str) -> None:
    """The room is where the model is held; on which of several holders, Redis chooses."""
    if not m.state.pinned.get(ref) or setting(m.state, ref, "pin") == 1:
        return free_room(m, ref)
    worker, size = reservation(m, ref)
    holders = [w for w in m.live_holders(ref) if rank_of(m.state, w, ref) < SICK]
    if not holders or worker in m.state.holders.get(ref, ()):
        return None
    chosen = m.after.reserved.get(ref, "none").split(" ")[0]
    must(chosen in holders, f"the room of {ref} is on {chosen}, which does not hold it")
    m.note("reconcile: moved a room" if worker else "reconcile: reserved a room")
    return reserve(m, ref, chosen, size or COPY_BYTES)


def fit(m: Model, models: list[Pair]) -> tuple[dict[str, str], set[str]] | tuple[str, int, int]:
    """Where each stays, and which have their room there already: what has its room reserved, is
    held or loaded stays there; the rest, largest first, goes to the worker with the most room. What
    a policy has pinned stays too. Or which has no room, its bytes, and the most that is left."""
    free = _room(m, {ref for ref, _ in models})
    chosen, has_room = dict[str, str](), set[str]()
    in_order = sorted(models, key=lambda pair: (-pair[1], pair[0]))
    for ref, size in in_order:
        worker, there = _place(m, free, ref)
        if worker:
            chosen[ref] = worker
        if there:
            has_room.add(ref)
        elif worker:
            free[worker] = free[worker].without(size)
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
    return chosen, has_room


def _place(m: Model, free: dict[str, Room], ref: str) -> tuple[str, bool]:
    """Where it is or comes, and whether its room there is counted already."""
    all_sick = _best_rank(m, free, ref) == SICK
    stay = [w for w in free if all_sick or rank_of(m.state, w, ref) < SICK]
    reserved, load = reservation(m, ref)[0], m.state.loads.get(ref)
    if reserved in stay:
        m.note("open_session: room reserved before")
        return reserved, True
    holders = m.state.holders.get(ref, set())
    held = [w for w in stay if w in holders]
    if held and setting(m.state, ref, "pin") == 1:
        return held[0], True
    there = [w for w in stay if w in holders or (load and load.worker == w)]
    return (there[0] if there else ""), False


def _best_rank(m: Model, workers: Iterable[str], ref: str) -> int:
    return min((rank_of(m.state, worker, ref) for worker in workers), default=0)


def _room(m: Model, own: set[str]) -> dict[str, Room]:
    """Of each ready worker, without what policies pin there and what is reserved for sessions."""
    free = {}
    for worker in live_workers(m.state, m.now):
        record = m.state.workers.get(worker, {})
        if record.get("state") != "ready":
            continue
        pinned = sum(_stays(m, ref, own) for ref in m.state.holds.get(worker, ()))
        taken, models = COPY_BYTES * pinned, pinned
        if "pinned_bytes" in record:
            taken, models = int(record["pinned_bytes"]), int(record["pinned_models"])
        taken += int(record.get("for_sessions", 0))
        models += int(record.get("session_models", 0))
        most = number(m.state, worker, "max_models") or math.inf
        left = number(m.state, worker, "budget_bytes") - taken
        free[worker] = Room(int(left) if models < most else 0, most - models)
    return free


def _stays(m: Model, ref: str, own: set[str]) -> bool:
    """Of a copy on a worker that does not report what policies pin."""
    unreserved = ref not in own and m.state.pinned.get(ref) and ref not in m.state.reserved
    return bool(unreserved) or setting(m.state, ref, "pin") == 1


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
    found = fit(m, models)
    if isinstance(found[0], str):
        return "full", tuple(str(part) for part in found)
    where, has_room = found[0], found[1]
    assert isinstance(has_room, set)
    m.state.sessions[session] = m.now + ttl
    text = " ".join(f"{ref} {size}" for ref, size in models)
    m.state.pins[session] = {"models": text, "ttl": str(ttl)}
    m.lives(f"session:{session}", ttl + STALL_SPARE)
    for ref, size in sorted(models, key=lambda pair: (-pair[1], pair[0])):
        if ref not in has_room:
            reserve(m, ref, where[ref], size)
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
