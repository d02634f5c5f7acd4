"""What any gateway does for all: reap dead workers, sweep what is late or forgotten."""

from __future__ import annotations

from tests.model.clock import grace_of
from tests.model.model import CLAIM_TTL, JOB_TTL, ORDER_TTL, Model, job_id, must
from tests.model.moves import publish
from tests.model.outcomes import late
from tests.model.parked import place_parked
from tests.model.releasing import Wiping, wipe
from tests.model.run import Choices, Run
from tests.model.state import Item

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
        if left == 0:
            del m.state.leases[worker]
    run.count("reap", "nobody" if answer is None else "part" if answer[1] else "all")
    return run.check("reap", m)


async def sweep(run: Run, c: Choices) -> None:
    """Expire what is late; order again, or place, what waits without a load."""
    answer, m = await run.call("sweep", run.scripts.sweep())
    grace = grace_of(m)
    expired = _expire(m, run.chunk, grace)
    counts = {"expired": expired, "ordered": 0, "placed": 0}
    m.free_choice = True  # the refs are looked at in an order of Redis's choice
    if len(m.state.waiting) <= run.chunk:
        for ref in _in_order(m):
            what, number = _sweep_ref(m, ref, run.chunk, grace)
            counts[what] = counts.get(what, 0) + number
        counts["lost"] = _end_lost(m, run.chunk)
        ended = expired + counts["lost"]
        must(answer == (ended, counts["ordered"], counts["placed"]), f"sweep: {answer}, {counts}")
        for what, number in counts.items():
            if number:
                run.count("sweep", what)
    run.check("sweep", m)


def _in_order(m: Model) -> list[str]:
    """What waits, as the script went through it: by the first request that it placed of each."""
    first: dict[str, tuple[int, ...]] = {}
    for entries in m.after.work.values():
        for entry, item in entries.items():
            if any(item.id == parked.id for parked in m.state.parked.get(item.ref, {}).values()):
                at = tuple(int(part) for part in entry.split("-"))
                first[item.ref] = min(at, first.get(item.ref, at))
    return sorted(m.state.waiting, key=lambda ref: first.get(ref, ()))


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


def _sweep_ref(m: Model, ref: str, chunk: int, grace: int) -> tuple[str, int]:
    parked, load = m.state.parked.get(ref, {}), m.state.loads.get(ref)
    if not parked:
        m.unorder(ref)
        return "forgotten", 1
    if load and load.phase == "ordered":
        job = job_id(ref, load.token)
        if job in m.state.orders and job in m.state.jobs:
            m.lives(f"load:{ref}", ORDER_TTL)
            m.lives(f"rq:job:{job}", JOB_TTL)
            return "kept", 1
        if m.state.expires[f"load:{ref}"] - m.now > CLAIM_TTL:
            m.lives(f"load:{ref}", CLAIM_TTL)
            return "taken", 1
        return "patient", 1
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
