"""All that a worker had is placed again, or ends."""

from __future__ import annotations

from typing import NamedTuple

from shared.constants import RECORD_BYTES
from tests.model.model import Model, sha1
from tests.model.moves import EXPIRED, count_kept, moving, place_item, publish, with_flag
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
    batch: str = ""


def wipe(m: Model, worker: str, how: Wiping, chunk: int = 1 << 30) -> int:
    """Forget a worker; what it had is placed again. Entries left."""
    for ref in m.state.holds.pop(worker, set()):
        m.state.holders.get(ref, set()).discard(worker)
        if not m.state.holders.get(ref):
            m.state.holders.pop(ref, None)
    unindex(m, worker)
    m.state.workers.pop(worker, None)
    m.state.unhealthy.pop(worker, None)
    _give_up_loads(m, worker)
    taken: list[tuple[bool, Item]] = []
    for entry in list(m.state.work.get(worker, {}))[:chunk]:
        number = m.state.started.get(worker, {}).get(entry)
        ran = number is not None and how.batch in ("", number)
        item = moving(m, "work", worker, entry)
        taken.append((ran, item._replace(attempts=item.attempts + ran)))
    for _, item in sorted(taken, key=lambda pair: pair[0]):  # what ran comes last
        _move(m, item, worker, how)
    left = len(m.state.work.get(worker, {}))
    if left == 0:
        for part in (m.state.work, m.state.pending, m.state.groups, m.state.started):
            part.pop(worker, None)  # type: ignore[attr-defined]
    return left


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


def _give_up_loads(m: Model, worker: str) -> None:
    for ref in m.state.loading.pop(worker, set()):
        load = m.state.loads.get(ref)
        if load and load.worker == worker:
            m.forget(f"load:{ref}")
            if m.state.parked.get(ref) and m.breaker(ref) != "open":
                m.order(ref)
