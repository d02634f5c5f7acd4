"""The hand-over whose answer was lost: it is repeated, and its callers get what is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from router.requests import hand_over as module
from router.requests import waiters as waiters_module
from shared.channel import Channel
from shared.errors import Unavailable
from tests.helpers.cell import Cell
from tests.helpers.gateway import RunningGateway, answer_all, publish_nothing, running_gateway
from tests.helpers.wait import wait_until


@pytest.fixture
async def leaver(cell: Cell, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    """The gateway that stops."""
    async with running_gateway(cell, publish_nothing(tmp_path)) as gateway:
        yield gateway


@pytest.fixture
async def epoch(cell: Cell, leaver: RunningGateway) -> str:
    """Of worker w1, which holds the model and is played by the test."""
    return await cell.worker("w1", holds=[await leaver.ref()])


@pytest.fixture
def lossy(leaver: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """The calls of the hand-over, of which the first has no answer."""
    scripts, calls = leaver.context.handover._scripts, []
    hand_over = scripts.hand_over

    async def lose_the_first(*given):
        answer = await hand_over(*given)
        calls.append(None)
        if len(calls) == 1:
            raise Unavailable("Redis did not answer in time")
        return answer

    monkeypatch.setattr(scripts, "hand_over", lose_the_first)
    return calls


async def test_a_lost_answer_of_the_hand_over_is_asked_for_again(
    cell: Cell, leaver: RunningGateway, epoch: str, lossy: list[None]
) -> None:
    """The second one finds what the first has done."""
    call = asyncio.create_task(leaver.infer())
    await wait_until(lambda: leaver.waiting == 1)
    await leaver.drain()
    assert (await call)[0] == 202 and len(lossy) == 2
    assert len(await answer_all(cell, epoch)) == 1


async def test_an_unread_reply_is_an_answer_then_too(
    cell: Cell, leaver: RunningGateway, epoch: str, lossy: list[None]
) -> None:
    """200, not 503: the replies can be read after the call was repeated."""
    call = asyncio.create_task(leaver.infer())
    await wait_until(lambda: leaver.waiting == 1)
    await leaver.context.handover._supervisor.stop("replies")
    await answer_all(cell, epoch)
    await leaver.drain()
    assert (await call)[0] == 200 and len(lossy) == 2


async def test_callers_are_handed_over_although_unread_replies_cannot_be_read(
    cell: Cell, leaver: RunningGateway, epoch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis goes away between the two: 202, and the gateway ends."""

    async def away(channel: Channel) -> None:
        raise Unavailable("Redis does not answer")

    scripts = leaver.context.handover._scripts
    hand_over = scripts.hand_over

    async def answered(*given: Any) -> list[bool]:
        going_on = await hand_over(*given)
        monkeypatch.setattr(module, "LONGEST_S", 0.5)  # from here on, as this machine may be slow
        return going_on

    monkeypatch.setattr(module, "LONGEST_S", 60.0)
    monkeypatch.setattr(scripts, "hand_over", answered)
    monkeypatch.setattr(leaver.context.handover._waiters, "read_rest", away)
    call = asyncio.create_task(leaver.infer())
    await wait_until(lambda: leaver.waiting == 1)
    await leaver.drain()
    assert (await call)[0] == 202
    assert len(await answer_all(cell, epoch)) == 1


async def test_unread_replies_are_read_beside_a_read_that_still_blocks(
    cell: Cell, leaver: RunningGateway, epoch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader's last call stays on its connection until Redis answers it."""
    waiters, done = leaver.context.handover._waiters, list[bool]()
    read_rest = waiters.read_rest

    async def noted(channel: Channel) -> None:
        await read_rest(channel)
        done.append(True)

    monkeypatch.setattr(waiters_module, "BLOCK_MS", 60_000)
    monkeypatch.setattr(waiters, "read_rest", noted)
    call = asyncio.create_task(leaver.infer())
    await wait_until(lambda: leaver.waiting == 1)
    await answer_all(cell, epoch)
    assert (await call)[0] == 200  # so the next read, which blocks, begins
    await leaver.drain()
    assert done == [True]
