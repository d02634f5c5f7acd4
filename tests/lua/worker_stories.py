"""For `test_lost_answers.py`: per script of a worker's membership, a call and the answer to its
repeat."""

from __future__ import annotations

from shared.scripts import Beaten
from tests.helpers.cell import LEASE_MS, MAX_ATTEMPTS, Cell
from tests.helpers.factories import REF
from tests.lua.copy_stories import Story, begun
from tests.lua.fleet import NOW_MS


async def register(cell: Cell) -> Story:
    await begun(cell)
    fields = {"device_name": "cpu", "incarnation": "one"}
    return lambda s: s.register("w1", LEASE_MS, MAX_ATTEMPTS, fields), lambda said: said


async def heartbeat(cell: Cell) -> Story:
    epoch = await cell.worker(holds=[REF])
    cell.scripts.now_ms = NOW_MS + 10
    return lambda s: s.heartbeat("w1", epoch, "one", LEASE_MS, 1, {"used_bytes": 7}), Beaten("ok")


async def renew_lease(cell: Cell) -> Story:
    epoch = await cell.worker(holds=[REF])
    await cell.client.delete(cell.keys.changed("w1"))
    cell.scripts.now_ms = NOW_MS + 10
    return lambda s: s.renew_lease("w1", epoch, LEASE_MS, 1), True


async def fence_worker(cell: Cell) -> Story:
    epoch = (await begun(cell))[0]
    return lambda s: s.fence_worker("w1", epoch, 1, "was killed", MAX_ATTEMPTS), -1


async def leave(cell: Cell) -> Story:
    epoch = (await begun(cell))[0]
    return lambda s: s.leave("w1", epoch, MAX_ATTEMPTS), False


async def release(cell: Cell) -> Story:
    epoch = (await begun(cell))[0]
    await cell.scripts._run("leave", "w1", epoch, MAX_ATTEMPTS, 1)
    return lambda s: s._run("release", "w1", MAX_ATTEMPTS, 128, "it left"), 0


WORKER_STORIES = (register, heartbeat, renew_lease, fence_worker, leave, release)
