"""Placing requests, and what must come of each."""

from __future__ import annotations

from shared.placed import Placed
from shared.scripts import Placing
from tests.model.model import Model
from tests.model.moves import Room, add_outbox, place_item
from tests.model.prediction import REPLIES_TTL, must, sha1
from tests.model.run import LIMITS, LONGEST_TIMEOUT_MS, Choices, Run
from tests.model.state import Item

KEY_TTL = 86_400_000
OVERHEAD, ROOM_MS, REPEATED_MS = 512, 500, 120_000


async def place(run: Run, c: Choices) -> None:
    """Some requests in one call: of callers who wait, who poll, of streams, with keys."""
    items = [_asked(run, c) for _ in range(1 + c.below(3))]
    result, m = await run.call(f"place {items}", run.scripts.place(items, LIMITS))
    room = Room(LIMITS, LIMITS.pending - len(m.state.deadlines))
    fits = memory_fits(run, m, sum(len(item.body) + OVERHEAD for item in items))
    for asked, got in zip(items, result, strict=True):
        stops = f"{asked.reply}.unread" in m.state.replies
        if asked.reply and not stops and asked.reply not in m.state.replies:
            m.state.replies[asked.reply] = [{"id": ""}]
            m.lives(f"replies:{asked.reply}", REPLIES_TTL)
        status, where = _accept(m, asked, got.deadline_ms, room, fits)
        must(got.status == status, f"place says {got.status}, not {status}")
        must(where is None or got.detail == where, f"place says {got.detail!r}, not {where!r}")
        if asked.ingress and status in ("placed", "parked", "joined"):
            m.state.ingress.pop(asked.ingress)
            m.state.ingress_pending.pop(asked.ingress, None)
        _when_to_come_back(m, asked.ref, got)
        if status in ("placed", "parked"):
            _remember(run, m, asked, got)
        run.count("place", status)
    _bounds_hold(m, [(item.ref, got) for item, got in zip(items, result, strict=True)])
    run.check("place", m)


def _remember(run: Run, m: Model, asked: Placing, got: Placed) -> None:
    places = [*m.after.work.values(), *m.after.parked.values()]
    found = [e for entries in places for e, item in entries.items() if item.id == asked.id]
    must(found == [got.entry], f"I12: {asked.id} is said to be {got.entry}, and is {found}")
    run.seen.placed[asked.id] = (got.detail and f"work:{got.detail}", got.entry)
    body = asked.body.decode()
    run.seen.requests[asked.id] = Item(
        asked.id, asked.ref, got.deadline_ms, asked.reply, asked.flags, 0, body
    )
    if "p" in asked.flags:
        run.history.promised.add(asked.id)


def _when_to_come_back(m: Model, ref: str, got: Placed) -> None:
    wait = got.retry_ms
    if got.status == "quarantined":
        must(wait == m.opens_at(ref) - m.now, f"the quarantine does not end in {wait} ms")
    elif got.status == "unloadable":
        ends = m.state.expires[f"unloadable:{ref}"] - m.now
        must(wait == ends, f"the back-off ends in {ends} ms, not {wait}")
    elif got.status in ("full", "memory"):
        must(1000 <= wait <= 60_000, f"{got.status}: come back in {wait} ms")
    else:
        must(wait == 0, f"{got.status}: come back in {wait} ms")


def _bounds_hold(m: Model, placed: list[tuple[str, Placed]]) -> None:
    """I24: where something was added, the limit holds after it. Two streams may have entries of
    one id."""
    for worker, ref in {(p.detail, ref) for ref, p in placed if p.status == "placed"}:
        entries = m.after.work[worker].values()
        own = sum(item.ref == ref for item in entries)
        must(own <= LIMITS.work, f"I24: too much of {ref} on {worker}")
    for ref, entries in m.after.parked.items():
        new = any(r == ref and p.status == "parked" and p.entry in entries for r, p in placed)
        must(not new or len(entries) <= LIMITS.parked, f"I24: too much waits for {ref}")


def memory_fits(run: Run, m: Model, size: int) -> bool:
    """Whether Redis believes that it has room for so many bytes."""
    if run.room and run.room[1] > m.now and run.room[0] != 0:
        run.room = (run.room[0] - size, run.room[1])
        return run.room[0] >= 0
    run.room = None
    if "headroom" not in m.state.expires:
        m.lives("headroom", ROOM_MS)
    return True


def _asked(run: Run, c: Choices) -> Placing:
    request, ref = run.next_id(), c.of(run.refs)
    timeout = c.of((LONGEST_TIMEOUT_MS, 4000, 300, 1))
    usual = Placing(
        request,
        ref,
        timeout,
        c.of(run.gateways),
        "",
        "",
        "",
        "",
        "",
        "",
        b"body-" + request.encode(),
    )
    kind = c.of(("waits", "polls", "keyed", "stream", "again"))
    if kind == "polls":
        return usual._replace(reply=c.of(("", *run.gateways)), flags="kp")
    again = [asked for at, asked in run.seen.keyed if run.now - at < REPEATED_MS]
    if kind == "again" and again:
        return c.of(again)  # its answer was lost, so the gateway asks once more
    if kind == "keyed":
        key, print_ = c.of(("A", "B")), c.of(("1", "1", "2"))
        keyed = usual._replace(reply="", flags="kp", key=key, fingerprint=print_)
        run.seen.keyed.append((run.now, keyed))
        return keyed
    if kind == "stream" and run.seen.doors:
        door = c.of(list(run.state.ingress)) if run.state.ingress else run.seen.doors[-1]
        to = f"{run.keys.answers}{c.below(2)}"
        key, print_ = c.of((("", ""), ("A", "1"), ("A", "1"), ("B", "2")))
        return usual._replace(
            reply="", flags="kp", ingress=door, reply_to=to, caller_id="me", key=key,
            fingerprint=print_,
        )  # fmt: skip
    return usual


def _accept(
    m: Model, asked: Placing, deadline: int, room: Room, fits: bool
) -> tuple[str, str | None]:
    """What `place` must answer for one request; a `where` of None is checked elsewhere."""
    if asked.ingress and asked.ingress not in m.state.ingress:
        return "duplicate", ""
    written = int(asked.ingress.split("-")[0]) if asked.ingress else m.now
    must(deadline == min(written, m.now) + asked.timeout_ms, "the deadline")
    if deadline <= m.now:
        return "late", ""
    prior = m.state.idempotency.get(sha1(asked.key)) if asked.key else None
    if prior and prior[1] != asked.fingerprint:
        return "mismatch", ""
    if prior:
        return _join(m, prior[0], asked), prior[0]
    # It has ended: its key is free again, and its outcome may have been dropped.
    if asked.key and (asked.id in m.state.records or asked.id in m.state.tombstone):
        return _join(m, asked.id, asked), asked.id
    if not fits:
        return "memory", ""
    item = Item(
        asked.id, asked.ref, deadline, asked.reply, asked.flags, 0, asked.body.decode()
    )  # fmt: skip
    answer = place_item(m, item, room)
    if answer.status in ("placed", "parked"):
        if asked.key:
            m.state.idempotency[sha1(asked.key)] = (asked.id, asked.fingerprint)
            m.lives(f"idempotency:{sha1(asked.key)}", KEY_TTL)
            m.state.records[asked.id]["idempotency"] = sha1(asked.key)
        if asked.reply_to:
            m.state.records[asked.id] |= {
                "reply_to": asked.reply_to, "caller_id": asked.caller_id,
            }  # fmt: skip
        return answer.status, answer.where
    return answer.status, None if answer.status == "quarantined" else answer.where


def _join(m: Model, request: str, asked: Placing) -> str:
    record, reply_to = m.state.records.get(request), asked.reply_to
    if record is None:
        return "gone"
    told = record.get("reply_to", "").split()
    if reply_to:
        record.setdefault("caller_id", asked.caller_id)
    if reply_to and "stream" in record and reply_to not in told:
        record["reply_to"] = record.get("reply_to", "") + " " + reply_to
    elif reply_to and "stream" not in record:
        add_outbox(m, {"id": request, "to": reply_to})
    return "joined"
