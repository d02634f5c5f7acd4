"""A cell on a Redis whose clock a test sets; gateways follow it."""

from __future__ import annotations

from tests.helpers.cell import LEASE_MS, Cell
from tests.helpers.factories import OTHER_REF, REF, kept

START_MS = 10_000_000
WAITS_MS = 30_000


class Redis:
    """Its clock; gateways follow it every half second, each believing that it does not leap."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.now_ms = START_MS

    @property
    def now_ms(self) -> int:
        assert self.cell.scripts.redis_ms is not None
        return self.cell.scripts.redis_ms

    @now_ms.setter
    def now_ms(self, value: int) -> None:
        self.cell.scripts.redis_ms = value

    async def goes_on(self, ms: int) -> None:
        """Time passes, and gateways follow."""
        for _ in range(0, ms, 500):
            self.now_ms += min(500, ms)
            assert await self.look() == ""

    async def look(self) -> str:
        """One gateway's look; the mark of what is not explained."""
        return (await self.cell.scripts.keep_clock(LEASE_MS)).mark

    async def beats(self, count: int) -> None:
        """Heartbeats of the worker."""
        epoch = (await self.cell.epoch("w1")).decode()
        for _ in range(count):
            said = (await self.cell.scripts.heartbeat("w1", epoch, "one", LEASE_MS, 1, {})).answer
            assert said == "ok"

    async def explain(self, leap_ms: int) -> None:
        """A gateway has found out."""
        kept = await self.cell.scripts.keep_clock(LEASE_MS, await self.look(), leap_ms)
        assert kept.mark == ""


async def serving_redis(cell: Cell) -> Redis:
    """With a worker w1 that holds REF and runs one request, and one that waits for another model;
    gateways keep the clock, and no grace is left of their start."""
    redis = Redis(cell)
    await redis.look()
    await redis.goes_on(LEASE_MS)
    await cell.scripts.gateway_beat("gw1", LEASE_MS)
    epoch = await cell.worker(holds=[REF])
    await cell.place(kept(timeout_ms=WAITS_MS), kept(ref=OTHER_REF, timeout_ms=WAITS_MS))
    await cell.begin("w1", epoch, await cell.read())
    return redis
