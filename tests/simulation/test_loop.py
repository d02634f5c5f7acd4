"""The simulation's event loop: virtual time, processes that die and pause, one order per seed."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.simulation.lane import Awaits
from tests.simulation.loop import SimLoop, Stuck
from tests.simulation.process import Process


@pytest.fixture
def loop() -> Iterator[SimLoop]:
    """A loop of seed 1."""
    made = SimLoop(random.Random(1))
    yield made
    made.close()


def test_time_jumps_to_what_happens_next(loop: SimLoop) -> None:
    """A day takes no time."""
    begun, real = loop.time(), time.perf_counter()
    loop.run_until_complete(asyncio.sleep(86_400))
    assert loop.time() - begun == 86_400
    assert time.perf_counter() - real < 10


def test_a_wait_for_what_never_happens_is_noticed(loop: SimLoop) -> None:
    """Instead of waiting for ever."""
    with pytest.raises(Stuck):
        loop.run_until_complete(loop.create_future())


def test_nothing_of_a_dead_process_runs(loop: SimLoop) -> None:
    """Neither the next step of its task, nor `finally`, nor a task that it had started."""
    seen: list[str] = []

    async def child() -> None:
        await asyncio.sleep(2)
        seen.append("child")

    async def victim() -> None:
        try:
            asyncio.create_task(child())  # noqa: RUF006 - nobody waits for it
            await asyncio.sleep(1)
            seen.append("first")
            await asyncio.sleep(1)
            seen.append("second")
        finally:
            seen.append("finally")

    process = Process(loop, "victim", 1)
    process.start(victim())
    loop.call_later(1.5, process.kill)
    loop.run_until_complete(asyncio.sleep(10))
    assert seen == ["first"]


def test_a_paused_process_finds_all_that_came_meanwhile(loop: SimLoop) -> None:
    """In the order in which it was due, at the moment in which it goes on."""
    seen: list[tuple[str, float]] = []
    begun = loop.time()

    async def sleeper(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append((name, loop.time() - begun))

    process = Process(loop, "sleeper", 1)
    for name, seconds in (("b", 2.0), ("a", 1.0), ("c", 9.0)):
        process.start(sleeper(name, seconds))
    loop.call_later(0.5, process.pause)
    loop.call_later(5.0, process.carry_on)
    loop.run_until_complete(asyncio.sleep(10))
    assert seen == [("a", 5.0), ("b", 5.0), ("c", 9.0)]


def _order(seed: int) -> list[int]:
    loop = SimLoop(random.Random(seed))
    seen: list[int] = []

    async def count(start: int) -> None:
        for number in range(start, start + 3):
            seen.append(number)
            await asyncio.sleep(0)

    for at in range(5):
        Process(loop, str(at), at).start(count(10 * at))
    loop.run_until_complete(asyncio.sleep(1))
    loop.close()
    return seen


def test_a_seed_is_an_order() -> None:
    """Processes overtake each other, each keeps its own order, and it is the same every time."""
    orders = {seed: _order(seed) for seed in range(5)}
    assert len({tuple(order) for order in orders.values()}) > 1
    for seed, order in orders.items():
        assert _order(seed) == order
        assert all([n for n in order if n // 10 == at] == [*range(10 * at, 10 * at + 3)]
                   for at in range(5))  # fmt: skip


def test_an_executor_is_one_thread_and_the_default_one_is_many(loop: SimLoop) -> None:
    """Calls of a thread end one after the other, calls in different threads side by side."""
    loop.draw_work = lambda: 1.0
    with ThreadPoolExecutor(1) as executor:

        async def main() -> tuple[float, float]:
            begun = loop.time()
            await asyncio.gather(*(loop.run_in_executor(executor, int) for _ in range(3)))
            one = loop.time() - begun
            await asyncio.gather(*(asyncio.to_thread(int) for _ in range(3)))
            return one, loop.time() - begun - one

        assert loop.run_until_complete(main()) == (3.0, 1.0)


def test_a_call_takes_its_time_and_leaves_the_clock_as_it_was(loop: SimLoop) -> None:
    """`work_s` is ahead of the clock only in the call itself."""

    def work() -> None:
        loop.work_s = 5.0

    async def main() -> tuple[float, float | None]:
        begun, call = loop.time(), asyncio.to_thread(work)
        task = asyncio.ensure_future(call)
        await asyncio.sleep(1.0)
        ahead = loop.work_s
        await task
        return loop.time() - begun, ahead

    assert loop.run_until_complete(main()) == (5.0, None)


def test_a_thread_that_waits_for_the_loop_lets_no_other_call_run(loop: SimLoop) -> None:
    """Then its call runs again."""
    loop.draw_work = lambda: 1.0
    seen: list[tuple[str, float]] = []
    begun = loop.time()

    async def news() -> None:
        await asyncio.sleep(3.0)
        seen.append(("news", loop.time() - begun))

    def first() -> None:
        if not seen:
            raise Awaits(news())
        seen.append(("first", loop.time() - begun))

    def second() -> None:
        seen.append(("second", loop.time() - begun))

    with ThreadPoolExecutor(1) as executor:

        async def main() -> None:
            await asyncio.gather(
                *(loop.run_in_executor(executor, each) for each in (first, second))
            )

        loop.run_until_complete(main())
    assert seen == [("news", 3.0), ("first", 3.0), ("second", 4.0)]
