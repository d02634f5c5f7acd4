"""Workers with a report, and what a test asks of a cell about orders and copies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.helpers.cell import LEASE_MS, Cell
from tests.helpers.factories import REF

NOW_MS = 1_000_000


async def worker(
    cell: Cell, name: str = "w1", *, holds: Iterable[str] = (), lease_ms: int = LEASE_MS,
    **report: Any,
) -> str:  # fmt: skip
    """A ready worker whose heartbeat also reports these fields; its epoch."""
    epoch = await cell.worker(name, holds=holds, lease_ms=lease_ms)
    if report:
        await cell.client.hset(cell.keys.worker(name), mapping=report)
    return epoch


async def warm_hint(cell: Cell, name: str, tier: str, epoch: str = "any", ref: str = REF) -> None:
    """The worker keeps the model in a lower tier, as `retire` notes it."""
    await cell.client.hset(cell.keys.warm(ref), name, f"{tier} {epoch}")
    await cell.client.expire(cell.keys.warm(ref), 600)


async def loaded_once(cell: Cell, ref: str = REF, **learned: Any) -> None:
    """What earlier loads have taught, as `announce` notes it."""
    await cell.client.hset(cell.keys.stats(ref), mapping=learned)
    await cell.client.expire(cell.keys.stats(ref), 600)


async def lease(cell: Cell, ref: str = REF) -> dict[str, str]:
    """The load lease, {} if there is none."""
    flat = await cell.client.hgetall(cell.keys.load(ref))
    return {name.decode(): value.decode() for name, value in flat.items()}


async def orders_by_name(cell: Cell, name: str = "w1") -> list[str]:
    """Orders that wait for this worker by name, oldest first."""
    return [order.decode() for order in await cell.client.lrange(cell.keys.orders(name), 0, -1)]


async def claim(cell: Cell, name: str, epoch: str, ref: str = REF) -> str:
    """What a worker is answered that claims the order there is."""
    return await cell.scripts.claim_load(name, epoch, ref, await cell.token(ref), LEASE_MS)


async def members(cell: Cell, key: str) -> set[str]:
    """A set, as text."""
    return {member.decode() for member in await cell.client.smembers(key)}
