"""Orders to one worker by name: load, unload, and what is no order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from shared.channel import Channel
from tests.helpers.cell import Cell
from tests.helpers.factories import REF
from worker.loading.orders import Orders


class Told:
    """Orders of worker w1, and what they led to."""

    def __init__(self, cell: Cell, channel: Channel) -> None:
        self.cell = cell
        self.may = True
        self.loads: list[tuple[str, str]] = []
        self.unloads: list[str] = []
        self.go = asyncio.Event()
        self.orders = Orders(channel, cell.keys, "w1", lambda: self.may, self._load, self._unload)

    async def _load(self, ref: str, token: str) -> str:
        self.loads.append((ref, token))
        return "claimed"

    async def _unload(self, ref: str) -> None:
        await self.go.wait()
        self.unloads.append(ref)

    async def say(self, *orders: str) -> None:
        await self.cell.client.rpush(self.cell.keys.orders("w1"), *orders)


@pytest.fixture
async def told(cell: Cell) -> AsyncIterator[Told]:
    """Nothing was ordered yet."""
    channel = Channel(cell.url)
    made = Told(cell, channel)
    yield made
    made.go.set()
    await cell.client.delete(cell.keys.orders("w1"))
    await channel.aclose()


async def test_an_order_to_load_is_claimed(told: Told) -> None:
    """Under its token."""
    await told.say(f"load {REF} t1")
    assert await told.orders.run_once() == f"load {REF} t1"
    assert told.loads == [(REF, "t1")]


async def test_who_cannot_load_now_leaves_it_to_the_cold_queue(told: Told) -> None:
    """The order lies there too."""
    told.may = False
    await told.say(f"load {REF} t1")
    await told.orders.run_once()
    assert told.loads == []


async def test_a_copy_that_drains_does_not_hold_up_the_next_order(told: Told) -> None:
    """It is freed beside them."""
    await told.say(f"unload {REF}", f"load {REF} t1")
    await told.orders.run_once()
    await told.orders.run_once()
    assert (told.unloads, told.loads) == ([], [(REF, "t1")])
    told.go.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert told.unloads == [REF]


@pytest.mark.parametrize("order", ["", "load", "load a", "drop a", "\x00" * 300])
async def test_what_is_no_order_is_passed_over(
    told: Told, order: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Who can write to Redis could put anything there: the next one is carried out."""
    caplog.set_level(logging.CRITICAL)
    await told.say(order, f"load {REF} t1")
    await told.orders.run_once()
    await told.orders.run_once()
    assert told.loads == [(REF, "t1")]


async def test_without_orders_it_comes_back_to_be_asked_again(told: Told) -> None:
    """So a loop over it can be stopped."""
    assert await told.orders.run_once() == ""
