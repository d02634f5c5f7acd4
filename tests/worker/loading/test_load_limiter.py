"""When a load may go on: alone with its model, in a slot, and not in haste."""

from __future__ import annotations

import asyncio

from tests.helpers.wait import wait_until
from worker.loading.load_limiter import MAX_DEBOUNCED, LoadLimiter


async def test_two_loads_of_one_model_follow_each_other() -> None:
    """The second begins when the first has ended, however it ended; another model is free."""
    turns, inside, go = LoadLimiter(2, 0.0), [], asyncio.Event()

    async def load(ref: str, number: int) -> None:
        async with turns.exclusive(ref):
            inside.append(number)
            await go.wait()
            if number == 1:
                raise ValueError("it failed")

    loads = [asyncio.create_task(load(ref, n)) for ref, n in (("a", 1), ("a", 2), ("b", 3))]
    await wait_until(lambda: len(inside) == 2)
    assert sorted(inside) == [1, 3]
    go.set()
    await asyncio.gather(*loads, return_exceptions=True)
    assert sorted(inside) == [1, 2, 3]


async def test_no_more_than_the_slots_are_brought_up_at_a_time() -> None:
    """The others wait for one."""
    turns, inside, most = LoadLimiter(2, 0.0), [0], [0]

    async def load() -> None:
        async with turns.slot():
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            await asyncio.sleep(0)
            inside[0] -= 1

    await asyncio.gather(*(load() for _ in range(9)))
    assert most[0] == 2


async def test_what_is_held_back_takes_no_slot_but_is_bounded() -> None:
    """Orders are taken beside it, up to some number."""
    turns = LoadLimiter(1, 60.0)

    async def load(number: int) -> None:
        async with turns.exclusive(f"model-{number}"):
            await turns.debounce(contended=True)

    held = [asyncio.create_task(_first(turns))]
    held += [asyncio.create_task(load(number)) for number in range(1, MAX_DEBOUNCED + 6)]
    await wait_until(lambda: turns.without_slot())
    assert turns.without_slot() == MAX_DEBOUNCED
    for task in held:
        task.cancel()
    await asyncio.gather(*held, return_exceptions=True)
    assert turns.without_slot() == 0


async def test_nothing_is_held_back_where_nobody_is_pushed_out() -> None:
    """Nor where the operator does not want it."""
    for turns, contended in ((LoadLimiter(1, 60.0), False), (LoadLimiter(1, 0.0), True)):
        async with asyncio.timeout(20), turns.exclusive("a"), turns.exclusive("b"):
            await turns.debounce(contended)


async def test_a_load_that_is_alone_is_not_held_back() -> None:
    """A client that asks for one cold model after another waits for nobody."""
    turns = LoadLimiter(1, 60.0)
    async with asyncio.timeout(20), turns.exclusive("a"):
        await turns.debounce(contended=True)


async def _first(turns: LoadLimiter) -> None:
    """A load that takes its time."""
    async with turns.exclusive("first"):
        await asyncio.sleep(60)
