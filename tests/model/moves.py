"""What several scripts do with one request: place it, end it, and move all that a worker had."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from shared.constants import RECORD_BYTES
from shared.placed import Limits
from tests.model.copies import spill, stays_with
from tests.model.crashes import count_success, crashed_holders
from tests.model.load_target import rank_of
from tests.model.model import Model
from tests.model.outcomes import trace
from tests.model.prediction import JOB_TTL, LEAP_SPARE, RESULT_TTL, must
from tests.model.state import Item

EXPIRED = "expired the deadline passed"
PROBE_MS = 30_000
# Ends that may be different next time, so that their idempotency key is free again.
PASSING = {
    "expired", "cancelled", "overloaded", "unavailable", "quarantined", "changed_meanwhile",
    "store_unavailable", "disk_full",
}  # fmt: skip
PASSING_MARK = "~"  # before the cause of a failed load that may pass
IN_SHARED_MEMORY = "\xc1"
LOST_WITH_ITS_GATEWAY = "unavailable its outcome lay in the memory of a gateway that stopped"


class Answer(NamedTuple):
    """What placing one request came to."""

    status: str
    where: str = ""
    entry: str = ""


@dataclass
class Room:
    """What is left of the limits while one call of `place` is at work."""

    limits: Limits
    records: int


def with_flag(flags: str, *wanted: str) -> str:
    for flag in wanted:
        flags = flags if flag in flags else flags + flag
    return flags


def passes(cause: str) -> bool:
    """Whether a failed load is tried again for those who wait already."""
    return cause.startswith(PASSING_MARK)


def place_item(m: Model, item: Item, room: Room | None = None, *, fewest: bool = False) -> Answer:
    """Place or park a request. Without limits it was accepted before and cannot be refused for
    being one too many, or for a quarantine. `fewest`: of all that are parked it began least."""
    state, avoided = _quarantine(m, item, fewest)
    if state == "open" and room:
        return Answer("quarantined")
    limit = room.limits.work if room else None
    worker = "" if state == "open" else _choose(m, item, avoided, limit)
    rank = rank_of(m.state, worker, item.ref) if worker else 0
    worker = worker if not rank or state != "closed" or stays_with(m, item.ref, rank) else ""
    kept = "k" in item.flags or state == "probe"
    queued = len(m.state.work.get(worker, {}))
    if worker and state == "closed":
        there = any(i.id == item.id for i in m.after.work.get(worker, {}).values())
        sure = there and not m.free_choice and not _another_is_full(m, item, worker, limit)
        spill(m, item.ref, worker, queued, sure)
    if worker and limit is not None and has_enough(m, worker, item.ref, limit):
        return Answer("full", "work")
    if (kept or not worker) and room and room.records < 1:
        return Answer("full", "pending")
    cause = m.state.unloadable.get(item.ref, "")
    if not worker and cause and (room or not passes(cause)):
        return Answer("unloadable", cause.removeprefix(PASSING_MARK))
    parked = m.state.parked.get(item.ref, {})
    if not worker and room and len(parked) >= room.limits.parked:
        return Answer("full", "parked")
    waits = state == "open" or bool(not worker and cause)
    if state == "probe" and worker:
        item = _as_probe(m, item)
    return _accept(m, item, worker, room, waits)


def _another_is_full(m: Model, item: Item, worker: str, limit: int | None) -> bool:
    """Whether the script may have looked at another holder, no more loaded, that takes no more."""
    queued = len(m.state.work.get(worker, {}))
    return limit is not None and any(
        len(m.state.work.get(other, {})) <= queued and has_enough(m, other, item.ref, limit)
        for other in m.live_holders(item.ref) - {worker}
    )


def has_enough(m: Model, worker: str, ref: str, limit: int) -> bool:
    """Whether a worker takes no more of a model: it has as many as it may, or its stream is full
    and the model has its least share of that."""
    entries = m.state.work.get(worker, {})
    own = sum(item.ref == ref for item in entries.values())
    return own >= limit or (len(entries) >= 4 * limit and own >= max(1, limit // 16))


def _quarantine(m: Model, item: Item, fewest: bool) -> tuple[str, set[str]]:
    """What the breaker means for this request, and the holders to avoid."""
    state = m.breaker(item.ref)
    if state == "probe" and item.attempts and not fewest:
        state = "open"
    avoided = crashed_holders(m, item.ref) if state == "open" else None
    return ("closed" if avoided is not None else state), avoided or set()


def _choose(m: Model, item: Item, avoided: set[str], limit: int | None) -> str:
    """The holder that Redis chose: alive, none is healthier, and no other had less to do."""
    live = m.live_holders(item.ref) - avoided
    if not live:
        return ""
    ranks = {w: rank_of(m.state, w, item.ref) for w in live}
    live = {w for w in live if ranks[w] == min(ranks.values())}
    if len(ranks) > len(live):
        m.note("holders: outranked")
    takes = [w for w in live if limit is None or not has_enough(m, w, item.ref, limit)] or live
    least = min(len(m.state.work.get(w, {})) for w in takes)
    for worker in sorted(live):
        if any(i.id == item.id for i in m.after.work.get(worker, {}).values()):
            fair = m.free_choice or len(m.state.work.get(worker, {})) == least
            must(fair, f"{item.id} is not on a least loaded holder")
            return worker
    return min(takes, key=lambda w: len(m.state.work.get(w, {})))  # it was refused, or is nowhere


def _as_probe(m: Model, item: Item) -> Item:
    m.state.breakers[item.ref]["probe_until"] = str(m.now + PROBE_MS)
    return item._replace(flags=with_flag(item.flags + "h", "k"))


def _accept(m: Model, item: Item, worker: str, room: Room | None, waits: bool) -> Answer:
    if worker:
        if "crashes" in m.state.breakers.get(item.ref, {}):
            item = item._replace(flags=with_flag(item.flags, "w"))
        entry = m.add("work", worker, item)
        if "k" in item.flags:
            _record(m, item, "placed", f"work:{worker}", entry, room)
        return Answer("placed", worker, entry)
    item = item._replace(flags=with_flag(item.flags, "k", "c"))
    entry = m.add("parked", item.ref, item)
    _record(m, item, "parked", f"parked:{item.ref}", entry, room)
    m.state.waiting.add(item.ref)
    load = m.state.loads.get(item.ref)
    if load and load.phase == "ordered":  # now a request waits for it
        m.lives(f"load:{item.ref}", JOB_TTL)
    if not waits and item.ref not in m.state.loads:
        m.order(item.ref)
    return Answer("parked", "", entry)


def _record(
    m: Model, item: Item, status: str, stream: str, entry: str, room: Room | None = None
) -> None:
    if room:
        room.records -= 1
    record = m.state.records.setdefault(item.id, {})
    record |= {
        "status": status, "model": item.ref, "stream": stream, "entry": entry,
        "deadline": str(item.deadline), "flags": item.flags, "reply": item.reply,
    }  # fmt: skip
    m.lives(f"request:{item.id}", max(item.deadline - m.now, 0) + LEAP_SPARE)
    m.state.deadlines[item.id] = item.deadline


def moving(m: Model, kind: str, name: str, entry: str) -> Item:
    """Take a request out of a stream to place it again: its record may know more than its entry."""
    item = m.take(kind, name, entry)
    assert item is not None
    record = m.state.records.get(item.id, {})
    return item._replace(flags=record.get("flags", item.flags))


def reply(
    m: Model, gateway: str, request: str, status: str, worker: str, cold: str, out: str
) -> bool:
    """To a gateway that still lives."""
    if gateway not in m.state.replies:
        return False
    m.state.replies[gateway].append(
        {"id": request, "status": status, "worker": worker, "cold": cold, "outcome": out}
    )
    return True


def _probe_ended(m: Model, record: dict[str, str], status: str) -> None:
    if "h" not in record.get("flags", ""):
        return
    ref = record["model"]
    if status == "succeeded":
        m.forget(f"breaker:{ref}")
    else:  # it proved nothing: the next one may try
        m.state.breakers.get(ref, {}).pop("probe_until", None)


def publish(m: Model, item: Item, status: str, worker: str, outcome: str, cause: str = "") -> None:
    """A request reaches its terminal state."""
    cold = "1" if "c" in item.flags else "0"
    count_success(m, item, status, worker)
    told = not item.reply or reply(m, item.reply, item.id, status, worker, cold, outcome)
    if told and "k" not in item.flags:
        return trace(m, item, status, worker, cold, outcome, cause, False)
    m.state.deadlines.pop(item.id, None)
    record = m.state.records.get(item.id, {})
    if not told and "p" not in record.get("flags", ""):  # its gateway stops, and still waits
        reply(m, f"{item.reply}.unread", item.id, status, worker, cold, outcome)
    if outcome.startswith(IN_SHARED_MEMORY) and "p" in record.get("flags", ""):
        status, outcome = "failed", LOST_WITH_ITS_GATEWAY
    _probe_ended(m, record, status)
    item = item._replace(ref=record.get("model", item.ref))
    trace(m, item, status, worker, cold, outcome, cause, "p" in record.get("flags", ""))
    for gateway in record.get("watchers", "").split():
        if gateway != item.reply:
            reply(m, gateway, item.id, status, worker, cold, outcome)
    if "p" not in record.get("flags", ""):
        m.forget(f"request:{item.id}")
        return None
    if "idempotency" in record and status != "succeeded" and outcome.split()[0] in PASSING:
        m.forget(f"idempotency:{record['idempotency']}")
    record |= {
        "status": status, "worker": worker, "cold": cold, "outcome": outcome,
        "finished": str(m.now),
    }  # fmt: skip
    for name in ("stream", "entry", "watchers"):
        record.pop(name, None)
    m.lives(f"request:{item.id}", RESULT_TTL)
    count_kept(m, "outcomes", item.id, len(outcome.encode("latin-1")) + RECORD_BYTES)
    m.state.tombstone.add(item.id)
    m.lives(f"tombstone:{item.id}", 2 * RESULT_TTL)
    for to in record.get("reply_to", "").split():
        add_outbox(m, {"id": item.id, "to": to})
    return None


def count_kept(m: Model, kind: str, name: str, size: int) -> None:
    """What is kept until `drop_kept` drops it."""
    m.state.kept.setdefault(kind, []).append(f"{m.now} {size} {name}")
    m.state.kept_bytes[kind] = str(int(m.state.kept_bytes.get(kind, 0)) + size)


def add_outbox(m: Model, fields: dict[str, str]) -> None:
    m.state.outbox[f"?o{len(m.state.outbox)}"] = fields
