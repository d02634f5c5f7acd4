"""Background loops: they go on after a failure, say when they fail, and stop in order."""

from __future__ import annotations

import asyncio
import logging

import pytest

from shared import service
from shared.errors import Unavailable
from shared.service import Loop, Supervisor
from tests.helpers.wait import wait_until


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-off of a millisecond."""
    monkeypatch.setattr(service, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(service, "LONGEST_WAIT_S", 0.002)


class Rounds:
    """A `run_once` that counts its rounds and fails in those that it is told."""

    def __init__(self, fails: object = (), error: Exception | None = None) -> None:
        self.count = 0
        self._fails = fails
        self._error = error or Unavailable("away")

    async def __call__(self) -> None:
        self.count += 1
        if self.count in self._fails:
            raise self._error


async def run(*loops: Loop) -> Supervisor:
    supervisor = Supervisor(loops)
    supervisor.start()
    return supervisor


async def test_a_loop_runs_again_and_again() -> None:
    """Until it is stopped, and not after."""
    rounds = Rounds()
    supervisor = await run(Loop("a", rounds))
    await wait_until(lambda: rounds.count > 10)
    await supervisor.stop()
    count = rounds.count
    await asyncio.sleep(0.01)
    assert rounds.count == count


async def test_a_loop_that_failed_goes_on() -> None:
    """Its failures are forgotten with the first good round."""
    rounds = Rounds(fails=range(1, 6))
    loop = Loop("a", rounds)
    supervisor = await run(loop)
    await wait_until(lambda: rounds.count > 6)
    assert loop.failures == 0
    assert supervisor.failing == []
    await supervisor.stop()


async def test_a_loop_that_keeps_failing_is_named() -> None:
    """After three rounds in a row; the others are not."""
    bad, good = Rounds(fails=range(1, 10**9)), Rounds()
    supervisor = await run(Loop("bad", bad), Loop("good", good))
    await wait_until(lambda: bad.count > 3)
    assert supervisor.failing == ["loop bad fails: away"]
    await supervisor.stop()


async def test_what_was_foreseen_is_logged_without_a_stack(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A bug is logged with one."""
    with caplog.at_level(logging.WARNING):
        for error in (Unavailable("Redis is away"), ZeroDivisionError("a bug")):
            rounds = Rounds(fails=[1], error=error)
            supervisor = await run(Loop("a", rounds))
            await wait_until(lambda rounds=rounds: rounds.count > 1)
            await supervisor.stop()
    foreseen, bug = caplog.records
    assert foreseen.getMessage() == "loop a: Redis is away" and not foreseen.exc_info
    assert bug.exc_info


async def test_loops_stop_in_the_reverse_of_their_start() -> None:
    """What was started last may need what was started first."""
    ended: list[str] = []

    def loop(name: str) -> Loop:
        async def wait() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(name)

        return Loop(name, wait)

    supervisor = await run(loop("a"), loop("b"), loop("c"))
    await asyncio.sleep(0)
    await supervisor.stop()
    assert ended == ["c", "b", "a"]


async def test_some_loops_can_be_stopped_before_the_others() -> None:
    """By name; the rest runs on, and a second stop ends it."""
    first, second = Rounds(), Rounds()
    supervisor = await run(Loop("a", first), Loop("b", second))
    await wait_until(lambda: first.count > 2 and second.count > 2)
    await supervisor.stop("b")
    stopped, running = second.count, first.count
    await wait_until(lambda: first.count > running)
    assert second.count == stopped
    await supervisor.stop()


async def test_rounds_keep_their_distance() -> None:
    """With `every_s` the next round comes no sooner."""
    rounds = Rounds()
    supervisor = await run(Loop("a", rounds, every_s=1000))
    await wait_until(lambda: rounds.count == 1)
    await asyncio.sleep(0.01)
    assert rounds.count == 1
    await supervisor.stop()


async def test_a_long_outage_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    """Ever fewer lines while it lasts, and one when it is over."""
    rounds = Rounds(fails=range(1, 33))
    with caplog.at_level(logging.INFO):
        supervisor = await run(Loop("a", rounds))
        await wait_until(lambda: rounds.count > 33)
        await supervisor.stop()
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ["loop a: away"] * 6 + ["loop a: runs again after 32 failures"]
