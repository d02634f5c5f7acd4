"""Cancels are coalesced, never dropped silently, and tried until their requests have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from router.requests import cancels as module
from router.requests.cancels import BATCH, Cancels
from shared.errors import Unavailable
from shared.scripts import Cancel
from tests.helpers.wait import wait_until


class Calls:
    """In place of the scripts: it notes each call, and fails while Redis is `away`."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.away = False
        self.go = asyncio.Event()
        self.go.set()

    async def cancel(self, items: Sequence[Cancel]) -> list[str]:
        self.batches.append([item.id for item in items])
        await self.go.wait()
        if self.away:
            raise Unavailable("Redis does not answer")
        return ["cancelled"] * len(items)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(module, "LONGEST_WAIT_S", 0.01)


async def test_cancels_of_one_turn_go_in_one_call() -> None:
    """And those that come while it is under way in the next ones."""
    calls = Calls()
    cancels = Cancels(calls)
    calls.go.clear()
    first = [cancels.soon(Cancel(f"a{n}")) for n in range(3)]
    await wait_until(lambda: calls.batches)
    later = [cancels.soon(Cancel(f"b{n}")) for n in range(BATCH + 1)]
    calls.go.set()
    assert set(await asyncio.gather(*first, *later)) == {"cancelled"}
    assert [len(batch) for batch in calls.batches] == [3, BATCH, 1]
    assert len(cancels) == 0


async def test_none_is_dropped_however_many_there_are() -> None:
    """A crowd of callers leaves while Redis is away: each of them is cancelled when it is back."""
    calls = Calls()
    cancels = Cancels(calls)
    calls.away = True
    answers = [cancels.soon(Cancel(f"{n}")) for n in range(5000)]
    await wait_until(lambda: len(calls.batches) > 3)
    calls.away = False
    assert set(await asyncio.gather(*answers)) == {"cancelled"}
    assert cancels.counts == {"sent": 5000}
    assert {one for batch in calls.batches for one in batch} == {str(n) for n in range(5000)}


async def test_one_whose_request_has_ended_by_itself_is_given_up_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The others are tried on."""
    calls = Calls()
    cancels = Cancels(calls)
    calls.away = True
    short, long = cancels.soon(Cancel("short"), 0.05), cancels.soon(Cancel("long"), 60)
    assert await short == ""
    assert not long.done()
    calls.away = False
    assert await long == "cancelled"
    assert cancels.counts == {"given_up": 1, "sent": 1}
    assert any("given up" in line for line in caplog.messages)


async def test_a_request_that_is_cancelled_twice_is_sent_once() -> None:
    """Its caller left, and then its deadline passed."""
    calls = Calls()
    cancels = Cancels(calls)
    one, two = cancels.soon(Cancel("a")), cancels.soon(Cancel("a", late=True))
    assert await one == await two == "cancelled"
    assert calls.batches == [["a"]]


async def test_at_the_end_those_under_way_are_waited_for() -> None:
    """For a while; then nothing is left that would use Redis."""
    calls = Calls()
    cancels = Cancels(calls)
    done = cancels.soon(Cancel("a"))
    await cancels.finish(1.0)
    assert done.result() == "cancelled"
    calls.away = True
    lost = cancels.soon(Cancel("b"))
    await cancels.finish(0.02)
    assert lost.result() == "" and len(cancels) == 0
