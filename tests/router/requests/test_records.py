"""What a poller sees of a request, how it waits for the end, and how it takes the request back."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from router.requests.records import MAX_WAIT_S
from router.rest.arguments import parse_wait
from shared.envelope import Outcome, pack
from shared.errors import Conflict, Gone, InvalidInput, NotFound
from tests.helpers.factories import REF, kept, placing, tensor
from tests.helpers.wait import wait_until

ANSWER = Outcome([tensor(np.ones((1, 2), "<f4"), "y")], "mine")


async def submitted(parts, holder: bool = True) -> tuple[str, str]:
    """A kept request, with a holder of its model or not: its id, the holder's epoch."""
    epoch = await parts.cell.worker("w1", holds=[REF] if holder else [])
    item = kept()
    await parts.cell.place(item)
    return item.id, epoch


async def finish(
    parts, epoch: str, status: str = "succeeded", outcome: bytes | None = None
) -> None:
    entries = await parts.cell.read("w1")
    raw = pack(ANSWER) if outcome is None else outcome
    await parts.cell.complete("w1", epoch, entries, status, raw)


async def watched(parts, request_id: str) -> None:
    """Return once somebody waits for the end of a request."""

    async def by_somebody() -> bool:
        return "watchers" in await parts.cell.record(request_id)

    await wait_until(by_somebody)


async def test_a_queued_request_is_shown_as_queued(parts) -> None:
    """Model and version, no worker yet."""
    request_id, _ = await submitted(parts)
    record = await parts.records.get(request_id)
    assert record.document() == {
        "id": request_id, "status": "queued", "model": "mnist", "version": "1"
    }  # fmt: skip
    assert not record.terminal and record.succeeded() is None


async def test_a_parked_request_says_what_it_waits_for(parts) -> None:
    """It is queued, and why."""
    request_id, _ = await submitted(parts, holder=False)
    document = (await parts.records.get(request_id)).document()
    assert (document["status"], document["reason"]) == (
        "queued", "waits for its model to be loaded"
    )  # fmt: skip


async def test_a_running_request_says_where(parts) -> None:
    """By the worker's name."""
    request_id, epoch = await submitted(parts)
    await parts.cell.begin("w1", epoch, await parts.cell.read("w1"))
    document = (await parts.records.get(request_id)).document()
    assert (document["status"], document["worker"]) == ("running", "w1")


async def test_a_request_that_succeeded_has_its_outcome(parts) -> None:
    """And who computed it."""
    request_id, epoch = await submitted(parts)
    await finish(parts, epoch)
    record = await parts.records.get(request_id)
    assert record.terminal and record.succeeded() == ANSWER
    assert (record.worker, record.cold) == ("w1", False)


@pytest.mark.parametrize("status", ["failed", "expired"])
async def test_a_request_that_did_not_succeed_says_why(parts, status: str) -> None:
    """Message and code; the code is for programs."""
    request_id, epoch = await submitted(parts)
    await finish(parts, epoch, status, b"model_failed it raised")
    record = await parts.records.get(request_id)
    assert record.document().items() >= {
        "status": status, "error": "it raised", "code": "model_failed"
    }.items()  # fmt: skip
    assert record.succeeded() is None


@pytest.mark.parametrize(
    "request_id", ["", "x", "f" * 31, "F" * 32, "f" * 33, "../" * 10, "f" * 31 + "\n"]
)
async def test_what_is_no_id_is_not_found(parts, request_id: str) -> None:
    """Before Redis is asked."""
    for call in (parts.records.get(request_id), parts.records.cancel(request_id)):
        with pytest.raises(NotFound):
            await call


async def test_an_unknown_id_is_not_found(parts) -> None:
    """At once, also for who would wait; no waiter is left."""
    for call in (
        parts.records.get("f" * 32), parts.records.get("f" * 32, 30), parts.records.cancel("f" * 32)
    ):  # fmt: skip
        with pytest.raises(NotFound):
            await call
    assert len(parts.waiters) == 0


async def test_an_outcome_that_is_no_longer_kept_is_gone(parts) -> None:
    """Not unknown: who asks late is told that it did end."""
    request_id, epoch = await submitted(parts)
    await finish(parts, epoch)
    await parts.cell.client.delete(parts.cell.keys.request(request_id))
    for call in (
        parts.records.get(request_id), parts.records.get(request_id, 60),
        parts.records.cancel(request_id),
    ):  # fmt: skip
        with pytest.raises(Gone, match="no longer kept"):
            await call
    assert len(parts.waiters) == 0


async def test_a_request_of_a_waiting_caller_is_nobodys_to_poll(parts) -> None:
    """Without a record there is nothing to see."""
    await parts.cell.worker("w1", holds=[REF])
    item = placing()
    await parts.cell.place(item)
    with pytest.raises(NotFound):
        await parts.records.get(item.id)


async def test_a_long_poll_ends_with_the_request(parts) -> None:
    """As soon as it has ended, not when the time is over."""
    request_id, epoch = await submitted(parts)
    polls = [asyncio.create_task(parts.records.get(request_id, 60)) for _ in range(3)]
    await watched(parts, request_id)
    assert not any(poll.done() for poll in polls)
    await finish(parts, epoch)
    async with asyncio.timeout(30):
        records = await asyncio.gather(*polls)
    assert all(record.succeeded() == ANSWER for record in records)
    assert len(parts.waiters) == 0


async def test_a_long_poll_of_an_ended_request_returns_at_once(parts) -> None:
    """Nothing more will come."""
    request_id, epoch = await submitted(parts)
    await finish(parts, epoch)
    async with asyncio.timeout(30):
        assert (await parts.records.get(request_id, 60)).terminal
    assert len(parts.waiters) == 0


async def test_a_long_poll_gives_up_in_the_end(parts) -> None:
    """With the record as it is then."""
    request_id, _ = await submitted(parts)
    assert not (await parts.records.get(request_id, 0.01)).terminal
    assert len(parts.waiters) == 0


async def test_cancel_takes_back_what_has_not_ended(parts) -> None:
    """A second time changes nothing, and is no error: what the caller wanted is so."""
    request_id, _ = await submitted(parts)
    for _ in range(2):
        await parts.records.cancel(request_id)
        assert (await parts.records.get(request_id)).status == "cancelled"


async def test_cancel_of_an_ended_request_is_a_conflict(parts) -> None:
    """Its outcome stands."""
    request_id, epoch = await submitted(parts)
    await finish(parts, epoch)
    with pytest.raises(Conflict, match="succeeded already"):
        await parts.records.cancel(request_id)


async def test_a_cancel_wakes_who_waits(parts) -> None:
    """The long poll returns it as cancelled."""
    request_id, _ = await submitted(parts)
    poll = asyncio.create_task(parts.records.get(request_id, 60))
    await watched(parts, request_id)
    await parts.records.cancel(request_id)
    async with asyncio.timeout(30):
        assert (await poll).status == "cancelled"


@pytest.mark.parametrize(
    ("text", "seconds"), [(None, 0), ("0", 0), ("1.5", 1.5), ("60", MAX_WAIT_S)]
)
def test_the_time_to_wait_is_read(text: str | None, seconds: float) -> None:
    """In seconds; none means not at all."""
    assert parse_wait(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "x", "-1", "60.1", "nan", "inf", "-inf", "1s", "1e1", "1e999"]
)
def test_another_time_is_refused(text: str) -> None:
    """The field is named."""
    with pytest.raises(InvalidInput, match="wait"):
        parse_wait(text)
