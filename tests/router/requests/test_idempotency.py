"""Idempotency keys: the same question under the same key is one request, whoever asks where."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from router.requests.call import MAX_KEY, Call, fingerprint
from router.rest.arguments import IDEMPOTENCY_KEY, read_key
from shared.envelope import Envelope, Outcome, pack
from shared.errors import Cancelled, Expired, Gone, InvalidInput, KeyReused
from tests.helpers.calls import checked
from tests.helpers.factories import REF, tensor

ANSWER = Outcome([tensor(np.ones((1, 2), "<f4"), "y")])
ENVELOPE = Envelope([tensor(np.zeros((1, 2), "<f4"))])


def call(**changes: object) -> Call:
    """A request with a key that a caller waits for."""
    return checked(**{"envelope": ENVELOPE, "key": "k", "fingerprint": "f", **changes})


async def serve(parts) -> int:
    """Worker w1 completes what it finds; how many."""
    entries = await parts.cell.read("w1")
    await parts.cell.complete("w1", parts.epoch, entries, outcome=pack(ANSWER))
    return len(entries)


@pytest.fixture
async def parts(parts):
    """A gateway, and a worker w1 that holds the model."""
    parts.epoch = await parts.cell.worker("w1", holds=[REF])
    return parts


async def test_who_asks_again_joins_the_request(parts) -> None:
    """It runs once, and both have the answer, under the id of the first."""
    first = await parts.dispatch.submit(call())
    second = await parts.dispatch.submit(call())
    assert (first.joined, second.joined) == (False, True)
    assert first.id == second.id
    assert await serve(parts) == 1
    answers = [await parts.dispatch.answer(ticket) for ticket in (first, second)]
    assert answers == [ANSWER, ANSWER]
    assert len(parts.waiters) == 0


async def test_who_asks_again_at_another_gateway_joins_too(parts, other_parts) -> None:
    """The outcome is sent to both."""
    first = await parts.dispatch.submit(call())
    second = await other_parts.dispatch.submit(call())
    assert second.joined
    assert await serve(parts) == 1
    async with asyncio.timeout(10):
        assert await parts.dispatch.answer(first) == ANSWER
        assert await other_parts.dispatch.answer(second) == ANSWER


async def test_who_asks_after_the_end_gets_the_stored_outcome(parts, other_parts) -> None:
    """At once, at any gateway; nothing runs again."""
    ticket = await parts.dispatch.submit(call())
    await serve(parts)
    await parts.dispatch.answer(ticket)
    again = await other_parts.dispatch.submit(call())
    assert again.id == ticket.id and again.joined
    await other_parts.dispatch.answer(again)
    assert again.worker == "w1"
    assert await serve(parts) == 0


async def test_submitting_again_names_the_first_request_and_its_status(parts) -> None:
    """Nobody waits here; the outcome can be asked for."""
    first = await parts.dispatch.submit(call(mode="respond-async"))
    again = await parts.dispatch.submit(call(mode="respond-async"))
    assert (again.id, again.joined, again.status) == (first.id, True, "queued")
    await serve(parts)
    assert (await parts.dispatch.submit(call(mode="respond-async"))).status == "succeeded"


async def test_another_question_under_the_key_is_refused(parts) -> None:
    """Also after the end; the first request is not touched."""
    ticket = await parts.dispatch.submit(call())
    for _ in range(2):
        with pytest.raises(KeyReused):
            await parts.dispatch.submit(call(fingerprint="g"))
        await serve(parts)
    assert await parts.dispatch.answer(ticket) == ANSWER
    assert len(parts.waiters) == 0


async def test_an_outcome_that_is_no_longer_kept_is_gone(parts) -> None:
    """The key still stands for it: it must not run again unasked."""
    ticket = await parts.dispatch.submit(call())
    await serve(parts)
    await parts.dispatch.answer(ticket)
    await parts.cell.client.delete(parts.cell.keys.request(ticket.id))
    with pytest.raises(Gone):
        await parts.dispatch.submit(call())
    assert len(parts.waiters) == 0


async def test_who_hangs_up_with_a_key_takes_nothing_back(parts) -> None:
    """It may ask again, and gets the answer then."""
    ticket = await parts.dispatch.submit(call())
    waiting = asyncio.create_task(parts.dispatch.answer(ticket))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await parts.dispatch.finish()
    again = await parts.dispatch.submit(call())
    assert await serve(parts) == 1
    assert await parts.dispatch.answer(again) == ANSWER


async def test_the_deadline_of_who_joined_ends_only_its_own_waiting(parts) -> None:
    """The request goes on for the others."""
    first = await parts.dispatch.submit(call())
    hasty = await parts.dispatch.submit(call())
    waiting = asyncio.create_task(parts.dispatch.answer(hasty))
    parts.waiters.set_deadline(hasty.future, asyncio.get_running_loop().time())
    assert await parts.waiters.expire_once() == 1
    with pytest.raises(Expired):
        await waiting
    await parts.dispatch.finish()
    assert await serve(parts) == 1
    assert await parts.dispatch.answer(first) == ANSWER


async def test_a_cancel_reaches_everyone_who_joined(parts, other_parts) -> None:
    """It was asked for by name."""
    first = await parts.dispatch.submit(call())
    second = await other_parts.dispatch.submit(call())
    await parts.records.cancel(first.id)
    for gateway, ticket in ((parts, first), (other_parts, second)):
        with pytest.raises(Cancelled):
            await gateway.dispatch.answer(ticket)


def ask(*values: str):
    headers = CIMultiDict((IDEMPOTENCY_KEY, value) for value in values)
    return make_mocked_request("POST", "/", headers=headers)


@pytest.mark.parametrize("key", ["a", "550e8400-e29b-41d4", "~" * MAX_KEY, "with space", "{};:"])
def test_a_key_is_printable_ascii(key: str) -> None:
    """Up to 256 characters."""
    assert read_key(ask(key)) == key


def test_without_the_header_there_is_no_key() -> None:
    """And nothing is kept on its behalf."""
    assert read_key(ask()) == ""


@pytest.mark.parametrize("values", [("",), ("a" * 257,), ("ä",), ("a\x7f",), ("a", "a")])
def test_what_is_no_key_is_refused(values: tuple[str, ...]) -> None:
    """The header is named."""
    with pytest.raises(InvalidInput, match=IDEMPOTENCY_KEY):
        read_key(ask(*values))


def test_a_fingerprint_is_of_what_is_asked() -> None:
    """Not of how it may be served: id, trace and priority make no difference."""
    base = fingerprint("m", "", ENVELOPE)
    inputs = ENVELOPE.inputs
    assert base == fingerprint("m", "", Envelope(inputs, [], "id", "trace", 1))
    zeros = np.zeros((1, 2), "<f4")
    others = [
        ("n", "", ENVELOPE), ("m", "1", ENVELOPE), ("m", "", Envelope(inputs, ["y"])),
        ("m", "", Envelope([tensor(zeros, "z")])),
        ("m", "", Envelope([tensor(zeros.astype("<f8"))])),
        ("m", "", Envelope([tensor(zeros.reshape(2, 1))])),
        ("m", "", Envelope([tensor(zeros + 1)])),
        ("m", "", Envelope([*inputs, tensor(zeros, "z")])),
    ]  # fmt: skip
    assert len({base, *(fingerprint(*other) for other in others)}) == 1 + len(others)
