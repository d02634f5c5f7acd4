"""When Redis's answer to a placement is late, lost, or comes after its caller has left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from router.requests.call import Call, Ticket
from router.requests.dispatch import Dispatch
from router.requests.shared_memory import GatewaySharedMemory
from shared.channel import Channel
from shared.envelope import Outcome, pack
from shared.errors import Expired, OutcomeUnknown, Unavailable
from shared.scripts import Scripts
from shared.service import Loop, Supervisor
from tests.helpers.calls import checked
from tests.helpers.cell import WIDE
from tests.helpers.factories import REF, tensor
from tests.helpers.proxy import Proxy
from tests.helpers.wait import wait_until

ANSWER = pack(Outcome([tensor(np.ones((1, 2), "<f4"), "y")]))
KEY = {"key": "k", "fingerprint": "f"}


def call(keep: bool = False, **changes: object) -> Call:
    return checked(mode="respond-async" if keep else "wait", **changes)


def unrecorded(ticket: object, error: object) -> None:
    """No log is kept."""


class Far:
    """The dispatch of a gateway whose calls to Redis go through a proxy."""

    def __init__(self, parts, proxy: Proxy) -> None:
        self.parts, self.proxy, self.cell = parts, proxy, parts.cell
        self.channel = Channel(proxy.url)
        scripts = Scripts(self.channel, self.cell.keys)
        self.dispatch = Dispatch(
            "gw1", self.cell.keys, scripts, WIDE, parts.waiters,
            GatewaySharedMemory(self.cell.client, self.cell.keys, "gw1", None, 0), unrecorded,
        )  # fmt: skip

    async def lose_the_next_answer(self) -> None:
        await self.channel.execute_command("PING")  # connected: the next command will be sent
        self.proxy.drop_answers = True

    async def queued(self) -> int:
        return int(await self.cell.client.xlen(self.cell.keys.work("w1")))


@pytest.fixture
async def far(parts) -> AsyncIterator[Far]:
    """And a worker w1 that holds the model."""
    parts.epoch = await parts.cell.worker("w1", holds=[REF])
    deadlines = Supervisor([Loop("deadlines", parts.waiters.expire_once, 0.01)])
    deadlines.start()
    await parts.cell.place()  # Redis knows the script: what is held is not NOSCRIPT
    async with Proxy.to(parts.cell.url) as proxy:
        made = Far(parts, proxy)
        yield made
        await made.dispatch.finish(0.1)
        await made.channel.aclose()
    await deadlines.stop()


@pytest.mark.parametrize("keep", [False, True])
async def test_a_lost_answer_is_told_as_unknown(far: Far, keep: bool) -> None:
    """The request was placed: it is not placed a second time, and the caller knows what it does
    not know. What has a record is taken back, and nothing else runs."""
    await far.lose_the_next_answer()
    with pytest.raises(OutcomeUnknown, match="Idempotency-Key"):
        await far.dispatch.submit(call(keep=keep))
    assert len(far.parts.waiters) == 0
    if keep:
        await wait_until(lambda: _none_queued(far))
    else:
        assert await far.queued() == 1
        await wait_until(lambda: _withdrawn(far))


async def _none_queued(far: Far) -> bool:
    return await far.queued() == 0


async def _one_queued(far: Far) -> bool:
    return await far.queued() == 1


def pass_deadline(far: Far, ticket: Ticket) -> None:
    """The deadline of a caller that waits is over."""
    assert ticket.future is not None
    far.parts.waiters.set_deadline(ticket.future, asyncio.get_running_loop().time())


async def test_with_a_key_the_gateway_asks_again_itself(far: Far) -> None:
    """One request, although it was placed twice; its caller notices nothing."""
    await far.lose_the_next_answer()
    ticket = await far.dispatch.submit(call(**KEY))
    assert not ticket.joined
    entries = await far.cell.read("w1")
    assert [e.fields["id"].decode() for e in entries] == [ticket.id]
    await far.cell.complete("w1", far.parts.epoch, entries, outcome=ANSWER)
    await far.dispatch.answer(ticket)
    assert ticket.worker == "w1"


async def test_what_was_never_sent_is_not_unknown(far: Far) -> None:
    """Nothing was accepted, and the caller may come again."""
    far.dispatch._placer._placement._scripts._channel = Channel("redis://127.0.0.1:1/0")
    with pytest.raises(Unavailable) as caught:
        await far.dispatch.submit(call())
    assert type(caught.value) is Unavailable
    assert await far.queued() == 0


async def test_while_redis_is_silent_a_caller_hears_of_its_deadline(far: Far) -> None:
    """Long before the connection is given up. What was placed all the same is taken back when
    Redis speaks again."""
    await far.channel.execute_command("PING")
    far.proxy.hold = True
    with pytest.raises(Expired):
        await far.dispatch.submit(call(timeout_s=0.05))
    assert len(far.parts.waiters) == 0
    await wait_until(lambda: _one_queued(far))
    far.proxy.release()
    await wait_until(lambda: _none_queued(far))


async def test_who_can_poll_is_not_told_an_end_that_redis_may_not_keep(far: Far) -> None:
    """The request may have run by then. If it has not, it ends as what happened: its deadline
    passed, and nobody cancelled it."""
    await far.channel.execute_command("PING")
    far.proxy.hold = True
    with pytest.raises(OutcomeUnknown, match="before the deadline") as caught:
        await far.dispatch.submit(call(timeout_s=0.05, keep=True))
    far.proxy.release()

    async def ended() -> bytes | None:
        return (await far.cell.record(caught.value.request_id)).get("status")

    await wait_until(lambda: _none_queued(far))
    assert await ended() == b"expired"


async def test_so_is_who_has_a_key_when_it_is_placed_again(far: Far) -> None:
    """The first answer was lost, the second does not come in time."""
    await far.lose_the_next_answer()
    far.proxy.hold = True
    with pytest.raises(OutcomeUnknown, match="before the deadline"):
        await far.dispatch.submit(call(timeout_s=0.4, keep=True, **KEY))
    await wait_until(lambda: _one_queued(far))
    far.proxy.release()


async def test_a_deadline_is_not_held_up_by_taking_the_request_back(far: Far) -> None:
    """It was placed and waits; then Redis falls silent."""
    ticket = await far.dispatch.submit(call())
    far.proxy.hold = True
    pass_deadline(far, ticket)
    with pytest.raises(Expired, match=ticket.id):
        await far.dispatch.answer(ticket)
    far.proxy.release()
    await wait_until(lambda: _none_queued(far))


async def test_who_leaves_while_redis_is_asked_takes_the_request_back(far: Far) -> None:
    """Where it was placed is learned afterwards."""
    await far.channel.execute_command("PING")
    far.proxy.hold = True
    asking = asyncio.create_task(far.dispatch.submit(call()))

    async def placed() -> bool:
        return await far.queued() == 1

    await wait_until(placed)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    far.proxy.release()
    await wait_until(lambda: _none_queued(far))
    assert len(far.parts.waiters) == 0


async def test_who_leaves_a_call_whose_answer_is_lost_withdraws_the_request(far: Far) -> None:
    """Nobody will ever know where it was placed, so the worker is told not to run it."""
    await far.channel.execute_command("PING")
    far.proxy.hold = True
    asking = asyncio.create_task(far.dispatch.submit(call()))

    async def placed() -> bool:
        return await far.queued() == 1

    await wait_until(placed)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    far.channel.cut()
    far.proxy.release()
    await wait_until(lambda: _withdrawn(far))


async def _withdrawn(far: Far) -> bool:
    """Whether the request that is queued may not run."""
    if not await far.cell.client.exists(far.cell.keys.withdrawn):
        return False
    entries = await far.cell.read("w1")
    return await far.cell.begin("w1", far.parts.epoch, entries) == [b"cancelled"]


async def test_who_leaves_with_a_key_leaves_the_request(far: Far) -> None:
    """It will ask again."""
    await far.channel.execute_command("PING")
    far.proxy.hold = True
    asking = asyncio.create_task(far.dispatch.submit(call(**KEY)))

    async def placed() -> bool:
        return await far.queued() == 1

    await wait_until(placed)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    far.proxy.release()
    again = await far.parts.dispatch.submit(call(**KEY))
    await far.dispatch.finish()
    assert again.joined and await far.queued() == 1
    far.parts.dispatch.forget(again)


async def test_who_heard_nothing_by_the_deadline_looks_at_the_record_first(far: Far) -> None:
    """Its reply was lost, as after an outage of Redis; the request had succeeded."""
    ticket = await far.dispatch.submit(call(**KEY))
    answering = asyncio.create_task(far.dispatch.answer(ticket))
    cell = far.cell
    entries = await cell.read("w1")
    await cell.begin("w1", far.parts.epoch, entries)
    await cell.client.delete(cell.keys.replies("gw1"))  # what is written now nobody reads
    await cell.complete("w1", far.parts.epoch, entries, outcome=ANSWER)
    pass_deadline(far, ticket)
    await answering
    assert ticket.worker == "w1"
