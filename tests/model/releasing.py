"""All that a worker had is placed again, or ends."""

from __future__ import annotations

from typing import NamedTuple

from shared.constants import RECORD_BYTES
from tests.model.model import Model
from tests.model.moves import EXPIRED, count_kept, moving, place_item, publish, with_flag
from tests.model.prediction import sha1
from tests.model.state import Item


def bury(m: Model, item: Item, worker: str, cause: str) -> None:
    letter = f"?d{len(m.state.dead_letters)}"
    m.state.dead_letters[letter] = {
        "kind": "request", "id": item.id, "model": item.ref, "worker": worker,
        "attempts": str(item.attempts), "cause": cause, "fingerprint": sha1(item.body),
        "body": item.body,
    }  # fmt: skip
    count_kept(m, "letters", letter, len(item.body.encode("latin-1")) + RECORD_BYTES)
    publish(m, item, "failed", worker, cause)


class Wiping(NamedTuple):
    """How a worker's requests are charged: see `lua/lib/release_worker.lua`."""

    attempts: int
    cause: str


def wipe_all(m: Model, worker: str, how: Wiping, budget: int) -> None:
    """Calls until nothing is left."""
    while wipe(m, worker, how, budget):
        m.note("release_worker: in parts")


def wipe(m: Model, worker: str, how: Wiping, budget: int) -> int:
    """What one call does of a release. What is left: loads, entries and copies."""
    m.begin_call()
    unindex(m, worker)
    m.state.workers.pop(worker, None)
    m.state.unhealthy.pop(worker, None)
    m.state.leases[worker] = 0
    done = _give_up_loads(m, worker, budget)
    loads = m.state.loading.get(worker, set())
    done = done if loads else _move_entries(m, worker, how, budget, done)
    _forget_copies(m, worker, budget - m.work_done(done))
    entries = m.state.work.get(worker, {})
    if not entries:
        for part in (m.state.work, m.state.pending, m.state.groups, m.state.started):
            part.pop(worker, None)  # type: ignore[attr-defined]
    left = len(loads) + len(entries) + len(m.state.holds.get(worker, ()))
    if not left:
        del m.state.leases[worker]
    return left


def _move_entries(m: Model, worker: str, how: Wiping, budget: int, done: int) -> int:
    """Those that have begun come last."""
    begun = m.state.started.get(worker, {})
    entries = list(m.state.work.get(worker, {}))[: max(1, budget - done)]
    for entry, ran in sorted(((e, e in begun) for e in entries), key=lambda pair: pair[1]):
        if m.work_done(done) >= budget:
            break
        done += 1
        item = moving(m, "work", worker, entry)
        _move(m, item._replace(attempts=item.attempts + ran), worker, how)
    return done


def _forget_copies(m: Model, worker: str, count: int) -> None:
    """Redis chooses which."""
    held = m.state.holds.get(worker, set())
    for ref in sorted(held, key=lambda ref: ref in m.after.holds.get(worker, ()))[: max(0, count)]:
        held.discard(ref)
        m.state.holders.get(ref, set()).discard(worker)
        if not m.state.holders.get(ref):
            m.state.holders.pop(ref, None)


def unindex(m: Model, worker: str) -> None:
    """It is not ready any more; a class without a ready worker is forgotten."""
    device_class = m.state.workers.get(worker, {}).get("device_class", "")
    if m.state.ready.get(device_class, {}).pop(worker, None) is None:
        return
    if not m.state.ready[device_class]:
        del m.state.ready[device_class]
        m.state.device_classes.discard(device_class)


def _move(m: Model, item: Item, worker: str, how: Wiping) -> None:
    if item.deadline <= m.now:
        return publish(m, item, "expired", worker, EXPIRED)
    if item.attempts >= how.attempts:
        cause = f"dead_lettered after {item.attempts} starts: {how.cause}"
        return bury(m, item, worker, cause)
    item = item._replace(flags=with_flag(item.flags, "k"))
    answer = place_item(m, item)
    if answer.status == "unloadable":
        publish(m, item, "failed", worker, answer.where)
    return None


def _give_up_loads(m: Model, worker: str, budget: int) -> int:
    refs = m.state.loading.get(worker, set())
    count = len(refs)
    for done, ref in enumerate(sorted(refs)):
        if m.work_done(done) >= budget:
            return done
        refs.discard(ref)
        load = m.state.loads.get(ref)
        if load and load.worker == worker:
            if m.state.parked.get(ref) and m.breaker(ref) != "open":
                m.order(ref)
            else:
                m.forget(f"load:{ref}")
    m.state.loading.pop(worker, None)
    return count
