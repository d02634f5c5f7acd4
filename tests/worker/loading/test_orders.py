"""What an order leads to: by name, from the cold queue, and what is no order."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator

import pytest

from shared import clock
from shared.errors import Unavailable
from tests.helpers.cell import Cell
from tests.helpers.factories import REF, placing
from tests.helpers.wait import wait_until
from worker.loading import orders as module
from worker.loading.orders import SHORTEST_S, SHUT_BLOCK_S, Orders


class Told:
    """Orders of worker w1, and what they led to."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.may, self.loading = True, False
        self.loads: list[tuple[str, str]] = []
        self.unloads: list[str] = []
        self.error: Exception | None = None
        self.claim = "claimed"
        self.go = asyncio.Event()
        self.orders = Orders(
            cell.channel, cell.keys, "w1", lambda: self.may, self._load, self._unload,
            lambda: self.loading,
        )  # fmt: skip

    async def _load(self, ref: str, token: str) -> str:
        self.loads.append((ref, token))
        if self.error is not None:
            raise self.error
        return self.claim

    async def _unload(self, ref: str) -> None:
        await self.go.wait()
        self.unloads.append(ref)

    async def say(self, *orders: str) -> None:
        for order in orders:
            await self.orders.take(self.cell.keys.orders("w1"), order.encode())

    async def job(self, data: bytes) -> bytes:
        """A job with this data in the cold queue; its id."""
        await self.cell.client.hset(self.cell.keys.rq_job("j"), "data", data)
        await self.cell.client.rpush(self.cell.keys.rq_queue(), "j")
        return b"j"


@pytest.fixture
async def told(cell: Cell) -> AsyncIterator[Told]:
    """Nothing was ordered yet."""
    made = Told(cell)
    yield made
    made.go.set()


async def test_an_order_to_load_is_claimed(told: Told) -> None:
    """Under its token; what a newer release adds is ignored."""
    await told.say(f"load {REF} t1", f"load {REF} t2 soon")
    assert told.loads == [(REF, "t1"), (REF, "t2")]


async def test_who_cannot_load_now_leaves_it_to_the_cold_queue(told: Told) -> None:
    """The order lies there too."""
    told.may = False
    await told.say(f"load {REF} t1")
    assert told.loads == []
    assert told.orders.lists() == [told.cell.keys.orders("w1")]


async def test_while_a_load_could_start_the_cold_queue_is_read_too(told: Told) -> None:
    """For shorter while a load is all that keeps the worker from it."""
    assert told.orders.lists() == [told.cell.keys.orders("w1"), told.cell.keys.rq_queue()]
    assert told.orders.block_s(1.0) == 1.0
    told.loading = True
    assert told.orders.block_s(1.0) == 1.0
    told.may = False
    assert told.orders.block_s(1.0) == SHUT_BLOCK_S
    told.loading = False
    assert told.orders.block_s(1.0) == 1.0


async def test_after_a_refusal_the_cold_queue_is_not_read_for_a_moment(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no other worker takes orders, the refused one lies there again at once. Orders by name,
    to unload above all, do not wait; nor does the queue because of one that was refused by name."""
    monkeypatch.setattr(module, "REFUSED_PAUSE_S", 3600.0)
    own, cold = told.cell.keys.orders("w1"), told.cell.keys.rq_queue()
    call = json.dumps(["warmroute.load", None, [REF, "t2"], {}]).encode()
    told.claim = "refused"
    await told.say(f"load {REF} t1")
    assert told.orders.lists() == [own, cold]
    await told.orders.take(cold, await told.job(call))
    assert (told.orders.lists(), told.orders.block_s(1.0)) == ([own], 1.0)
    told.orders.look()
    assert not told.orders._looking
    told.go.set()
    await told.say(f"unload {REF}")
    await wait_until(lambda: told.unloads == [REF])
    for left_s, block_s in ((0.5, 0.5), (0.0001, SHORTEST_S)):
        at = clock.monotonic()
        told.orders._cold_at = at + left_s
        monkeypatch.setattr(clock, "monotonic", lambda: at)  # noqa: B023 - called in this round
        assert told.orders.block_s(1.0) == pytest.approx(block_s)
    told.orders._cold_at = 0.0
    assert told.orders.lists() == [own, cold]


async def test_a_copy_that_drains_does_not_hold_up_the_next_order(told: Told) -> None:
    """It is freed beside them."""
    await told.say(f"unload {REF}", f"load {REF} t1")
    assert (told.unloads, told.loads) == ([], [(REF, "t1")])
    told.go.set()
    await wait_until(lambda: told.unloads == [REF])


@pytest.mark.parametrize("order", ["", "load", "load a", "drop a", "\x00" * 300])
async def test_what_is_no_order_is_passed_over(
    told: Told, order: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Who can write to Redis could put anything there: the next one is carried out."""
    caplog.set_level(logging.CRITICAL)
    await told.say(order, f"load {REF} t1")
    assert told.loads == [(REF, "t1")]


async def test_a_job_is_read_and_removed(told: Told) -> None:
    """The one that a script wrote."""
    await told.cell.place(placing())
    (order,), token = await told.cell.orders(), await told.cell.token()
    told.orders.look()
    await wait_until(lambda: told.loads == [(REF, token)])
    assert await told.cell.exists(told.cell.keys.rq_job(order), told.cell.keys.rq_queue()) == []


@pytest.mark.parametrize("data", [b"hello", b"[" * 4000, b"x" * 5_000_000])
async def test_a_job_that_is_no_order_is_dropped(
    told: Told, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says so."""
    await told.orders.take(told.cell.keys.rq_queue(), await told.job(data))
    assert told.loads == []
    assert await told.cell.exists(told.cell.keys.rq_job("j")) == []
    assert "is dropped" in caplog.text
    await told.cell.client.delete(told.cell.keys.rq_queue())


@pytest.mark.parametrize("item", [b"nowhere", b"../../etc", b"a" * 10_000, b"\xff\xfe"])
async def test_a_job_that_is_gone_is_passed_over(
    told: Told, item: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It was cancelled, or taken over the direct way: nothing is said of it."""
    await told.orders.take(told.cell.keys.rq_queue(), item)
    assert told.loads == [] and caplog.messages == []


@pytest.mark.parametrize("error", [Unavailable("Redis does not answer"), RuntimeError("a bug")])
async def test_an_order_that_fails_fails_alone(told: Told, error: Exception) -> None:
    """It is ordered again."""
    told.error = error
    await told.say(f"load {REF} t1", f"load {REF} t2")
    assert len(told.loads) == 2


async def test_a_job_of_another_type_fails_alone(told: Told) -> None:
    """Redis refuses to read it."""
    await told.cell.client.set(told.cell.keys.rq_job("j"), "text", ex=60)
    await told.orders.take(told.cell.keys.rq_queue(), b"j")
    assert told.loads == []


async def test_a_worker_that_drains_takes_nothing_more(told: Told) -> None:
    """Once the read under way has ended."""
    told.orders.waiting = True
    closing = asyncio.create_task(told.orders.close())
    await asyncio.sleep(0.05)
    assert told.orders.lists() == [] and not closing.done()
    told.orders.waiting = False
    await closing
    await told.cell.place(placing())
    told.orders.look()
    await asyncio.sleep(0.05)
    assert told.loads == []
