"""Dispatch: a request is accepted or refused; its outcome comes home or it is taken back (I23)."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from router.requests.call import Call, RequestIds, Ticket
from shared.envelope import Envelope, Outcome, pack, pack_error, unpack_envelope
from shared.errors import (
    Cancelled,
    Corrupt,
    Expired,
    InvalidInput,
    ModelFailed,
    Overloaded,
    Unavailable,
)
from tests.helpers.calls import checked
from tests.helpers.cell import Entry
from tests.helpers.factories import REF, tensor
from tests.helpers.wait import wait_until

ANSWER = Outcome([tensor(np.ones((1, 2), "<f4"), "y")], "mine")


def call(**changes: object) -> Call:
    """A request that a caller waits for."""
    envelope = Envelope([tensor(np.zeros((1, 2), "<f4"))], id="mine")
    return checked(**{"envelope": envelope, **changes})


async def serve(parts, status: str = "succeeded", outcome: bytes | None = None) -> Entry:
    """Worker w1 completes the next request."""
    (entry,) = await parts.cell.read("w1")
    raw = pack(ANSWER) if outcome is None else outcome
    assert await parts.cell.complete("w1", parts.epoch, [entry], status, raw) == [1]
    return entry


async def emptied(parts, stream: str) -> None:
    """Return once a stream holds nothing."""

    async def empty() -> bool:
        return await parts.cell.client.xlen(stream) == 0

    await wait_until(empty)


@pytest.fixture
async def parts(parts):
    """A gateway, and a worker w1 that holds the model."""
    parts.epoch = await parts.cell.worker("w1", holds=[REF])
    return parts


async def test_a_waiting_caller_gets_the_answer(parts) -> None:
    """The worker finds the request as it was submitted; nothing is left of it."""
    ticket = await parts.dispatch.submit(call())
    entry = await serve(parts)
    assert await parts.dispatch.answer(ticket) == ANSWER
    assert (ticket.worker, ticket.cold) == ("w1", False)
    assert entry.fields["id"].decode() == ticket.id
    assert unpack_envelope(entry.fields["body"]) == call().request.envelope
    assert len(parts.waiters) == 0


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("failed", ModelFailed("it raised")),
        ("failed", Corrupt("its hash")),
        ("expired", Expired("deadline passed")),
    ],
)
async def test_a_request_that_did_not_succeed_raises_its_error(parts, status, error) -> None:
    """As what it was where it happened."""
    ticket = await parts.dispatch.submit(call())
    await serve(parts, status, pack_error(error))
    with pytest.raises(type(error), match=error.message):
        await parts.dispatch.answer(ticket)


async def test_at_the_deadline_the_caller_is_told_and_the_request_taken_back(parts) -> None:
    """By its gateway, if by nobody else."""
    ticket = await parts.dispatch.submit(call())
    answer = asyncio.create_task(parts.dispatch.answer(ticket))
    parts.waiters.set_deadline(ticket.future, asyncio.get_running_loop().time())
    assert await parts.waiters.expire_once() == 1
    with pytest.raises(Expired, match=ticket.id):
        await answer
    await emptied(parts, parts.cell.keys.work("w1"))
    assert len(parts.waiters) == 0


@pytest.mark.parametrize("warm", [True, False])
async def test_a_caller_that_hangs_up_takes_its_request_back(parts, warm: bool) -> None:
    """Whether it was placed or parked."""
    if not warm:
        await parts.cell.scripts.retire("w1", parts.epoch, REF)
    ticket = await parts.dispatch.submit(call())
    waiting = asyncio.create_task(parts.dispatch.answer(ticket))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    keys = parts.cell.keys
    stream = keys.work("w1") if warm else keys.parked(REF)
    await emptied(parts, stream)
    assert await parts.cell.exists(keys.request(ticket.id), keys.deadlines) == []
    assert len(parts.waiters) == 0


async def test_a_request_for_a_cold_model_says_that_it_was_cold(parts) -> None:
    """It waited for a load."""
    cell = parts.cell
    await cell.scripts.retire("w1", parts.epoch, REF)
    ticket = await parts.dispatch.submit(call())
    token = await cell.claim("w1", parts.epoch)
    await cell.scripts.announce("w1", parts.epoch, REF, token, "device 1")
    await serve(parts)
    await parts.dispatch.answer(ticket)
    assert ticket.cold


async def test_a_submitted_request_is_kept_and_nobody_waits(parts) -> None:
    """Its record holds the outcome."""
    ticket = await parts.dispatch.submit(call(mode="respond-async"))
    assert ticket.future is None
    await serve(parts)
    assert (await parts.records.get(ticket.id)).succeeded() == ANSWER


async def test_full_queues_are_told_with_when_to_come_back(parts) -> None:
    """And no waiter is left behind."""
    parts.placement.limits = parts.placement.limits._replace(work=0)
    with pytest.raises(Overloaded, match="every worker that holds this model") as caught:
        await parts.dispatch.submit(call())
    assert caught.value.retry_after_s
    assert len(parts.waiters) == 0


async def test_a_model_that_just_failed_to_load_raises_the_cause(parts) -> None:
    """At once."""
    await parts.cell.scripts.retire("w1", parts.epoch, REF)
    await parts.cell.client.set(parts.cell.keys.unloadable(REF), "corrupt its hash", px=10_000)
    with pytest.raises(Corrupt, match="its hash"):
        await parts.dispatch.submit(call())
    assert len(parts.waiters) == 0


async def test_a_stream_entry_that_was_taken_already_is_refused(parts) -> None:
    """Somebody else's request stands."""
    with pytest.raises(InvalidInput, match="accepted before"):
        await parts.dispatch.submit(call(entry="1-1", mode="stream"))


async def test_a_gateway_that_stops_takes_nothing_more(parts) -> None:
    """Those who wait still get their answers."""
    ticket = await parts.dispatch.submit(call())
    parts.dispatch.stop_accepting()
    with pytest.raises(Unavailable, match="stopping"):
        await parts.dispatch.submit(call())
    await serve(parts)
    assert await parts.dispatch.answer(ticket) == ANSWER


async def test_without_redis_the_caller_is_told_to_come_back(parts) -> None:
    """No waiter is left behind; taking a request back is given up silently."""
    ticket = await parts.dispatch.submit(call())
    parts.cell.scripts._channel = type(parts.cell.channel)("redis://127.0.0.1:1/0")
    with pytest.raises(Unavailable):
        await parts.dispatch.submit(call())
    parts.dispatch.cancel(ticket)
    parts.dispatch.forget(ticket)
    await parts.dispatch.finish(0.01)
    assert len(parts.waiters) == 0
    parts.cell.scripts._channel = parts.cell.channel


async def test_a_cancel_from_elsewhere_reaches_the_waiting_caller(parts) -> None:
    """A kept request that is also waited for."""
    ticket = await parts.dispatch.submit(call(mode="respond-async", wait_s=30.0))
    assert isinstance(ticket, Ticket)
    await parts.records.cancel(ticket.id)
    with pytest.raises(Cancelled):
        await parts.dispatch.answer(ticket)


async def test_a_worker_that_dies_delays_the_answer_and_does_not_lose_it(parts) -> None:
    """The request moves to another holder, whose answer reaches the caller."""
    cell = parts.cell
    ticket = await parts.dispatch.submit(call())
    await cell.worker("w2", holds=[REF])
    await cell.client.zadd(cell.keys.workers, {"w1": 0})
    await cell.reap()
    (entry,) = await cell.read("w2")
    epoch = (await cell.client.hget(cell.keys.worker("w2"), "epoch")).decode()
    await cell.complete("w2", epoch, [entry], outcome=pack(ANSWER))
    await parts.dispatch.answer(ticket)
    assert ticket.worker == "w2"


async def test_many_callers_each_get_their_own_answer(parts) -> None:
    """Three hundred at once, answered in any order."""
    envelopes = [Envelope([tensor(np.full((1, 2), n, "<f4"))], id=str(n)) for n in range(300)]
    tickets = await asyncio.gather(
        *(parts.dispatch.submit(call(envelope=envelope)) for envelope in envelopes)
    )
    answers = [asyncio.create_task(parts.dispatch.answer(ticket)) for ticket in tickets]
    entries = await parts.cell.read("w1")
    for entry in reversed(entries):
        sent = unpack_envelope(entry.fields["body"])
        outcome = pack(Outcome(sent.inputs, sent.id))
        await parts.cell.complete("w1", parts.epoch, [entry], outcome=outcome)
    await wait_until(lambda: all(answer.done() for answer in answers))
    assert [answer.result().id for answer in answers] == [str(n) for n in range(300)]


def test_request_ids_are_unguessable_and_never_repeat() -> None:
    """128 random bits each, over many blocks."""
    ids, other = RequestIds("a"), RequestIds("b")
    taken = [ids.take() for _ in range(3 * RequestIds.BLOCK)] + [other.take() for _ in range(9)]
    assert len(set(taken)) == len(taken)
    assert all(len(bytes.fromhex(i)) == 16 for i in taken)
