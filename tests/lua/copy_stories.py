"""For `test_lost_answers.py`: per script of model copies, a call and the answer to its repeat."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from shared.scripts import Scripts
from tests.helpers.cell import LEASE_MS, Cell
from tests.helpers.factories import OTHER_REF, REF, kept
from tests.lua import fleet

Call = Callable[[Scripts], Awaitable[Any]]
Story = tuple[Call, Any]  # the call, and the answer to its repeat (or what that must be true of)


async def begun(cell: Cell, lease_ms: int = LEASE_MS) -> tuple[str, list[Any]]:
    """Worker w1 has begun a request; its epoch and the entry."""
    await cell.gateway()
    epoch = await cell.worker(holds=[REF], lease_ms=lease_ms)
    await cell.place(kept())
    entries = await cell.read()
    await cell.begin("w1", epoch, entries)
    return epoch, entries


async def loading(cell: Cell) -> tuple[str, str]:
    """Worker w1 loads the model that two requests wait for; its epoch and the token."""
    epoch = await cell.worker()
    await cell.place(kept(), kept())
    return epoch, await cell.claim("w1", epoch)


async def announce(cell: Cell) -> Story:
    epoch, token = await loading(cell)
    return lambda s: s.announce("w1", epoch, REF, token, "device 1"), 0


async def record_stats(cell: Cell) -> Story:
    epoch = await cell.worker(holds=[REF])
    return lambda s: s.record_stats("w1", epoch, REF, {"rows": "it sorts"}), True


async def retire(cell: Cell) -> Story:
    epoch = (await begun(cell))[0]
    last = await cell.client.xrevrange(cell.keys.work("w1"), count=1)
    return lambda s: s.retire("w1", epoch, REF), last[0][0].decode()


async def claim_load(cell: Cell) -> Story:
    epoch = await cell.worker()
    await cell.place(kept())
    token = await cell.token()
    return lambda s: s.claim_load("w1", epoch, REF, token, LEASE_MS), "stale"


async def reload(cell: Cell) -> Story:
    epoch = await cell.worker()
    return lambda s: s.reload("w1", epoch, REF, LEASE_MS), ""


async def renew_load(cell: Cell) -> Story:
    _, token = await loading(cell)
    return lambda s: s.renew_load("w1", REF, token, LEASE_MS * 2), True


async def refuse_load(cell: Cell) -> Story:
    _, token = await loading(cell)
    await cell.worker("w2")
    return lambda s: s.refuse_load("w1", REF, token), "stale"


async def fail_load(cell: Cell) -> Story:
    _, token = await loading(cell)
    return lambda s: s.fail_load("w1", REF, token, b"corrupt no", 5000), -1


async def route_by_affinity(cell: Cell) -> Story:
    """Handed on: who asks again is told that the load is not its own any more."""
    await cell.worker("w2", holds=[OTHER_REF])
    await cell.client.sadd(cell.keys.affinity("team"), OTHER_REF)
    _, token = await loading(cell)
    return lambda s: s.route_by_affinity("w1", REF, token, "team", "require"), "stale"


async def order_copy(cell: Cell) -> Story:
    """One copy is on its way, not two."""
    await cell.worker()
    return lambda s: s.order_copy(REF, 2), ("loading", "ordered")


async def order_unload(cell: Cell) -> Story:
    """Each holder is told once."""
    await cell.worker(holds=[REF])
    await cell.scripts.order_copy(REF, 1)
    return lambda s: s.order_unload(REF), 1


async def set_policy(cell: Cell) -> Story:
    await cell.scripts.set_policy(REF, {"priority": "2"})
    return lambda s: s.set_policy(REF, {"pin": "1", "priority": ""}), {"pin": "1"}


async def open_session(cell: Cell) -> Story:
    """There is one session under that id, with the expiry of the first call."""
    await fleet.worker(cell, budget_bytes=100)
    models = [(REF, 60), (OTHER_REF, 40)]
    opened = ("exists", (str(fleet.NOW_MS + 1000),))
    return lambda s: s.open_session("s1", 1000, 1, models), opened


async def keep_session(cell: Cell) -> Story:
    await cell.scripts.open_session("s1", 1000, 1, [])
    return lambda s: s.keep_session("s1", 60_000), fleet.NOW_MS + 60_000


async def close_session(cell: Cell) -> Story:
    """It is over; whoever closes it again is told that there is none."""
    await fleet.worker(cell, budget_bytes=100, holds=[REF])
    await cell.scripts.open_session("s1", 1000, 1, [(REF, 60)])
    return lambda s: s.close_session("s1"), False


async def reconcile(cell: Cell) -> Story:
    await fleet.worker(cell, budget_bytes=100, holds=[REF])
    await cell.scripts.open_session("s1", 1000, 1, [(REF, 60)])
    await cell.scripts.order_copy(OTHER_REF, 1)
    await cell.client.delete(cell.keys.load(OTHER_REF))
    cell.scripts.now_ms = fleet.NOW_MS + 1000
    return lambda s: s.reconcile(), (0, 0)


COPY_STORIES = (
    announce, record_stats, retire, claim_load, reload, renew_load, refuse_load, fail_load,
    route_by_affinity, order_copy, order_unload, set_policy, open_session,
    keep_session, close_session, reconcile,
)  # fmt: skip
