"""What any gateway does for all: reap dead workers, sweep what is late or forgotten."""

from __future__ import annotations

from tests.model.clock import grace_of
from tests.model.model import Model
from tests.model.moves import publish
from tests.model.outcomes import late
from tests.model.parked import place_parked
from tests.model.prediction import CLAIM_TTL, JOB_TTL, job_id, must
from tests.model.releasing import Wiping, wipe
from tests.model.run import Choices, Run
from tests.model.state import Item, Load

LOST = "unavailable Redis has lost the entry of this request; send it again"


async def reap(run: Run, c: Choices) -> None:
    """A worker whose lease ran out, a chunk of it."""
    if run.idle(c, any(until <= run.now for until in run.state.leases.values())):
        return None
    answer, m = await run.call("reap", run.scripts.reap(run.attempts))
    if grace_of(m) or not m.state.clock:
        must(answer is None, f"reap says {answer} after a stall")
        run.count("reap", "grace")
        return run.check("reap", m)
    over = sorted((until, w) for w, until in m.state.leases.items() if until <= m.now)
    must((answer is None) == (not over), f"reap says {answer}, lease over: {over}")
    if answer is not None:
        worker = over[0][1]
        left = wipe(m, worker, Wiping(run.attempts, "the lease of its worker expired"), run.chunk)
        must(answer == (worker, left), f"reap says {answer}, not {worker, left}")
    run.count("reap", "nobody" if answer is None else "part" if answer[1] else "all")
    return run.check("reap", m)


async def sweep(run: Run, c: Choices) -> None:
    """Expire what is late; order again, or place, what waits without a load."""
    answer, m = await run.call("sweep", run.scripts.sweep())
    grace = grace_of(m)
    expired = _expire(m, run.chunk, grace)
    counts = {"expired": expired, "ordered": 0, "placed": 0}

    def left() -> int:
        return run.chunk - m.work_done(expired + counts["placed"])

    head, taken = m.queue_head(run.chunk), set()
    older = [ref for ref, since in m.state.waits.items() if head is not None and since < head]
    for ref in sorted(older, key=lambda ref: (m.state.waits[ref], ref), reverse=True)[: run.chunk]:
        if left() > 0:
            taken.add(ref)
            what, number = _look_at_taken(m, ref, left(), grace, head)
            counts[what] = counts.get(what, 0) + number
    must(len(m.state.waiting) <= run.chunk, "all that waits is drawn")
    drawn = len(m.state.waiting)
    for ref in sorted(m.state.waiting):
        if left() > 0 and ref not in taken:
            what, number = _sweep_ref(m, ref, left(), grace, head)
            counts[what] = counts.get(what, 0) + number
    counts["lost"] = _end_lost(m, max(-(-run.chunk // 4), left() - drawn) if left() > 0 else 0)
    ended = expired + counts["lost"]
    must(answer == (ended, counts["ordered"], counts["placed"]), f"sweep: {answer}, {counts}")
    for what, number in counts.items():
        if number:
            run.count("sweep", what)
    if left() <= 0:
        run.count("sweep", "part")
    run.check("sweep", m)


def _expire(m: Model, chunk: int, grace: int) -> int:
    overdue = sorted((at, i) for i, at in m.state.deadlines.items() if at <= m.now)
    expired = 0
    for _, request in overdue[:chunk]:
        m.state.deadlines.pop(request)
        place, record = m.place_of(request), m.state.records.get(request, {})
        if place is None:
            continue
        if grace and record.get("status") == "running":
            m.state.deadlines[request] = grace
            m.note("sweep: put off")
            continue
        m.take(*place)
        item = Item(request, record["model"], 0, record["reply"], record["flags"], 0, "")
        outcome, worker = late(m, record["model"], *place[:2])
        publish(m, item, "expired", worker, outcome)
        if place[0] == "parked":
            m.unorder(record["model"])
        expired += 1
    return expired


def _end_lost(m: Model, chunk: int) -> int:
    """Requests whose entry is missing: all, or of many those that Redis chose."""
    told = {fields["id"]: at for at, fields in enumerate(m.after.failures.values())}
    known, ended = len(m.state.deadlines), 0
    for request in sorted(m.state.deadlines, key=lambda request: told.get(request, 0)):
        place, chosen = m.place_of(request), request not in m.after.deadlines
        if place is None and chosen:
            del m.state.deadlines[request]
        if place is None or place[2] in getattr(m.state, place[0]).get(place[1], {}):
            continue
        must(chosen or known > chunk, f"{request} is lost, and does not end")
        if chosen:
            record = m.state.records[request]
            item = Item(request, record["model"], 0, record["reply"], record["flags"], 0, "")
            publish(m, item, "failed", "", LOST)
            ended += 1
    return ended


def _look_at_taken(
    m: Model, ref: str, chunk: int, grace: int, head: float | None
) -> tuple[str, int]:
    """An order that was taken from the queue is claimed soon, or repeated in its place."""
    load = m.state.loads.get(ref)
    if load is not None and load.phase == "ordered":
        return _keep_order(m, ref, load, head)
    if load is not None or not m.state.parked.get(ref):
        del m.state.waits[ref]
        return "unindexed", 1
    return _sweep_ref(m, ref, chunk, grace, head)


def _keep_order(m: Model, ref: str, load: Load, head: float | None) -> tuple[str, int]:
    since = m.state.waits.get(ref)
    if since is not None and (head is None or since >= head):
        if m.state.expires[f"load:{ref}"] - m.now >= JOB_TTL // 2:
            return "kept", 1
        m.lives(f"load:{ref}", JOB_TTL)
        if (job := job_id(ref, load.token)) in m.state.jobs:
            m.lives(f"rq:job:{job}", JOB_TTL)
        return "kept", 1
    if m.state.expires[f"load:{ref}"] - m.now > CLAIM_TTL:
        m.lives(f"load:{ref}", CLAIM_TTL)
        return "taken", 1
    return "patient", 1


def _sweep_ref(m: Model, ref: str, chunk: int, grace: int, head: float | None) -> tuple[str, int]:
    parked, load = m.state.parked.get(ref, {}), m.state.loads.get(ref)
    if not parked:
        m.unorder(ref)
        return "forgotten", 1
    if load and load.phase == "ordered":
        return _keep_order(m, ref, load, head)
    unrenewed = load is not None and load.until and load.until <= m.now and not grace
    if load and load.phase == "loading" and (load.worker not in m.state.leases or unrenewed):
        m.forget(f"load:{ref}")
        return "orphan", 1
    if load:
        return "loading", 1
    if m.live_holders(ref):
        return "placed", place_parked(m, ref, chunk)[0]
    if ref in m.state.unloadable:
        return "backing off", 1
    if m.breaker(ref) != "open":
        m.order(ref)
        return "ordered", 1
    return "quarantined", 1
