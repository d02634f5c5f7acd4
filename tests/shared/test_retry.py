"""Repeating: until Redis answers, and nothing that is an answer."""

from __future__ import annotations

import asyncio
import logging

import pytest

from shared import retry
from shared.errors import InvalidInput, Quarantined, Unavailable, WarmrouteError
from shared.retry import until_answered
from tests.helpers.wait import wait_until


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of a millisecond."""
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(retry, "LONGEST_WAIT_S", 0.001)


class Calls:
    """A call that fails so many times, and counts."""

    def __init__(self, failures: int, error: WarmrouteError | None = None) -> None:
        self.count = 0
        self._failures = failures
        self._error = error or Unavailable("Redis does not answer")

    async def __call__(self) -> int:
        self.count += 1
        if self.count <= self._failures:
            raise self._error
        return self.count


async def test_a_call_is_repeated_until_it_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    """With one line in the log, however often it failed."""
    with caplog.at_level(logging.INFO):
        assert await until_answered(Calls(6)) == 7
    (line,) = caplog.records
    assert line.getMessage() == "Redis does not answer: tried again until Redis answers"


@pytest.mark.parametrize("error", [InvalidInput("no"), Quarantined("it crashes workers")])
async def test_an_answer_is_no_reason_to_ask_again(error: WarmrouteError) -> None:
    """Also one that says 'not now'."""
    calls = Calls(1, error)
    with pytest.raises(type(error)):
        await until_answered(calls)
    assert calls.count == 1


async def test_it_ends_when_it_is_cancelled() -> None:
    """While it waits for its next try."""
    calls = Calls(10**9)
    task = asyncio.create_task(until_answered(calls))
    await wait_until(lambda: calls.count > 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
