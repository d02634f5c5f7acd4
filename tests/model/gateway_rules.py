"""What gateways do with requests and doors, each with what must come of it."""

from __future__ import annotations

from shared.scripts import Cancel, Waiting
from tests.model import outcomes
from tests.model.clock import grace_of
from tests.model.model import Model
from tests.model.moves import publish
from tests.model.outcomes import late, recall
from tests.model.place_rules import memory_fits
from tests.model.prediction import LEAP_SPARE, REPLIES_TTL, must
from tests.model.run import LEASE_MS, Choices, Run

LIFE_MS = 60_000


async def cancel(run: Run, c: Choices) -> None:
    """Of a live, an ended or an unknown request, by its record or by where it was placed."""
    known = [*run.seen.placed, "nobody"]
    request = known[-2] if c.chance(3) and len(known) > 1 else c.of(known)
    stream, entry = run.seen.placed.get(request, ("", ""))
    full = f"{run.keys.prefix}:{stream}" if stream else ""
    ref = run.seen.requests[request].ref if request in run.seen.requests else ""
    late = bool(ref) and c.chance(3)  # its time is up
    life_ms = LIFE_MS if c.chance(3) else 0  # its gateway does not know where it is
    if life_ms:
        full = stream = entry = ""
    told = Cancel(request, full, entry if stream else "", ref, late, None, life_ms)
    (answer,), m = await run.call(f"cancel {told}", run.scripts.cancel([told]))
    said = _cancelled(m, request, stream, entry, ref if late else "")
    if said == "unknown" and life_ms:
        there = {known: until for known, until in m.state.withdrawn.items() if until > m.now}
        m.state.withdrawn = there | {request: m.now + life_ms}
        m.lives("withdrawn", life_ms)
    must(answer == said, f"cancel says {answer}")
    if answer == "cancelled":
        run.history.cancelled.add(request)
    elif " " in answer:
        run.history.told_late.add(request)
    run.count("cancel", "late" if " " in answer else answer)
    run.check("cancel", m)


def _cancelled(m: Model, request: str, stream: str, entry: str, ref: str) -> str:
    record, place = m.state.records.get(request), m.place_of(request)
    if record and place is None:
        return record["status"]
    kind, name, at = place or (*stream.partition(":")[::2], entry)
    item = m.take(kind, name, at) if kind else None
    if item is None:
        unknown = "gone" if request in m.state.tombstone else "unknown"
        return recall(m, request).partition(" ")[0] or unknown
    flags, reply = (record or {}).get("flags", ""), (record or {}).get("reply", "")
    status, worker, outcome = "cancelled", "", "cancelled the caller cancelled the request"
    if ref:
        status, (outcome, worker) = "expired", late(m, ref, kind, name)
    item = item._replace(id=request, flags=flags, reply=reply, ref=ref)
    publish(m, item, status, worker, outcome)
    if kind == "parked":
        m.unorder(name)
    return outcome if ref else "cancelled"


async def subscribe(run: Run, c: Choices) -> None:
    """Read a record; perhaps have its outcome sent to a gateway."""
    answered = run.seen.answered[-3:]
    request = c.of([*run.seen.placed, *answered, "nobody"])
    gateway = c.of(("", *run.gateways))
    read, m = await run.call(
        f"subscribe {request} {gateway}", run.scripts.subscribe(request, gateway)
    )
    record = m.state.records.get(request)
    outcome = record["status"] if record else "gone" if request in m.state.tombstone else "unknown"
    if record is None:
        text = "" if outcome == "gone" else recall(m, request)
        known = {"ended": text.encode("latin-1")} if text else {}
        must(read == ({"gone": b"1"} if outcome == "gone" else known), f"subscribe says {read}")
        outcome = "ended" if text else outcome
    else:
        must(read["status"].decode() == outcome, f"subscribe says {read}")
        watchers = record.get("watchers", "").split()
        if gateway and "stream" in record and gateway not in watchers:
            record["watchers"] = record.get("watchers", "") + " " + gateway
    run.count("subscribe", outcome if outcome in ("gone", "ended", "unknown") else "known")
    run.check("subscribe", m)


async def record_outcomes(run: Run, c: Choices) -> None:
    """A gateway tells what it has answered; in this cell eight of them are kept."""
    ends = {run.next_id(): f"succeeded w1 0 {c.of(run.refs)} " for _ in range(1 + c.below(3))}
    kept, m = await run.call(
        f"record_outcomes {ends}",
        run.scripts.record_outcomes(8, [part for pair in ends.items() for part in pair]),
    )
    fits = memory_fits(run, m, sum(len(part) + 32 for pair in ends.items() for part in pair))
    must(kept == fits, f"record_outcomes says {kept}")
    if fits:
        outcomes.record_outcomes(m, "answered", 8, ends)
        run.seen.answered += ends
    run.count("record_outcomes", "kept" if fits else "no room")
    run.check("record_outcomes", m)


async def gateway_beat(run: Run, c: Choices) -> None:
    """A gateway lives; what dead ones had read goes back into the doors."""
    gateway = c.of(run.gateways)
    beat, m = await run.call(f"gateway_beat {gateway}", run.scripts.gateway_beat(gateway, LEASE_MS))
    moved = beat.moved
    must(beat.keeps_house, "gateway_beat: nobody keeps house")
    must(beat.clock_follows == bool(m.state.clock), "gateway_beat: who keeps the clock?")
    must(beat.fits == memory_fits(run, m, 0), f"gateway_beat: Redis has headroom: {beat.fits}")
    run.doors_open = True
    m.state.gateways[gateway] = m.now + LEASE_MS
    if f"{gateway}.unread" not in m.state.replies:
        m.state.replies.setdefault(gateway, [{"id": ""}])
    m.lives(f"replies:{gateway}", LEASE_MS + LEAP_SPARE)
    m.state.protocols[gateway] = "1 1"
    m.lives(f"gateway:{gateway}", LEASE_MS + REPLIES_TTL)
    m.note_protocol(f"gateway {gateway}", LEASE_MS)
    if grace_of(m) or not m.state.clock:
        must(moved == 0, f"gateway_beat took back {moved} after a stall")
        run.count("gateway_beat", "grace")
        return run.check("gateway_beat", m)
    back, left = _take_back(m, run.chunk)
    dead = sorted((until, g) for g, until in m.state.gateways.items() if until <= m.now)
    for _, name in () if left else dead[: run.chunk]:
        del m.state.gateways[name]
        if name in m.state.replies:
            m.lives(f"replies:{name}", REPLIES_TTL)
    must(moved == back, f"gateway_beat took back {moved}, not {back}")
    run.count("gateway_beat", "took back" if moved else "nothing to take back")
    return run.check("gateway_beat", m)


def _take_back(m: Model, chunk: int) -> tuple[int, int]:
    """Whoever has no lease, listed or not. Entries taken back, and left."""
    back = left = 0
    for entries, pending in (
        (m.state.ingress, m.state.ingress_pending), (m.state.outbox, m.state.outbox_pending),
        (m.state.failures, m.state.failures_pending),
    ):  # fmt: skip
        dead = {name for name in pending.values() if m.state.gateways.get(name, 0) <= m.now}
        for name in sorted(dead):
            mine = [entry for entry, consumer in pending.items() if consumer == name]
            left += len(mine[chunk:])
            for entry in mine[:chunk]:
                del pending[entry]
                entries[f"?{entry}"] = entries.pop(entry)
                back += 1
    return back, left


async def hand_over(run: Run, c: Choices) -> None:
    """A gateway stops: what its callers wait for goes on and can be polled."""
    gateway = c.of(run.gateways)
    mine = [i for i, item in run.seen.requests.items() if item.reply == gateway]
    if c.chance(3):  # of some it does not come so far
        mine = mine[1:]
    waiting = []
    for request in mine[-5:]:
        item, (stream, entry) = run.seen.requests[request], run.seen.placed[request]
        full = f"{run.keys.prefix}:{stream}" if stream else ""
        waiting.append(Waiting(request, item.ref, item.deadline, full, entry if stream else ""))
    kept, m = await run.call(
        f"hand_over {gateway} {waiting}", run.scripts.hand_over(gateway, waiting)
    )
    unread = m.state.replies.get(gateway)
    for (request, ref, deadline, *_), goes_on in zip(waiting, kept, strict=True):
        must(goes_on == _handed_over(m, run, request, ref, deadline), f"hand_over of {request}")
        run.count("hand_over", "goes on" if goes_on else "ended")
    m.forget(f"replies:{gateway}")
    if unread is not None:
        m.state.replies[f"{gateway}.unread"] = unread
        m.lives(f"replies:{gateway}.unread", REPLIES_TTL)
    if gateway in m.state.gateways:
        m.state.gateways[gateway] = m.now
    run.serial += 1  # it never calls again; the next process has another name
    run.gateways[run.gateways.index(gateway)] = f"next{run.serial}"
    run.check("hand_over", m)


def _handed_over(m: Model, run: Run, request: str, ref: str, deadline: int) -> int:
    record = m.state.records.get(request)
    if record:
        record["flags"] += "" if "p" in record["flags"] else "p"
        run.history.promised.add(request)
        return 1
    stream, entry = run.seen.placed[request]
    if entry not in m.state.work.get(stream.removeprefix("work:"), {}):
        return 0
    m.state.records[request] = {
        "status": "placed", "model": ref, "stream": stream, "entry": entry,
        "deadline": str(deadline), "flags": "kp", "reply": "",
    }  # fmt: skip
    m.lives(f"request:{request}", max(deadline - m.now, 0) + LEAP_SPARE)
    m.state.deadlines[request] = deadline
    run.history.promised.add(request)
    return 1
