"""Pages of a list of all cells: one cell after the other, those that are silent together.

All cells that may be on a page are asked at once whether they answer; then those that do are read
in their order until the page is full. So any number of silent cells costs a page AWAY_S once, and a
cell behind the end of the page costs it nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeVar

from router.rest.context import GatewayContext
from shared import clock
from shared.errors import NotFound, Unavailable

AWAY_S = 5.0  # for which a call to all waits for one of them, or for any number
LONGEST_S = 10.0  # then a page ends with the cell that it has reached

Result = TypeVar("Result")
Place = tuple[GatewayContext, str]  # a cell, and where to begin in it
Take = Callable[[GatewayContext, str], Awaitable[str | None]]


class Ended(NamedTuple):
    """`next`: where the following page begins, None at the end; `away`: why cells did not answer,
    by their names."""

    next: str | None
    away: dict[str, str]


async def in_turn(places: Sequence[Place], is_full: Callable[[], bool], take: Take) -> Ended:
    """Have `take` read the cells in their order until the page `is_full`. It returns where the next
    page begins in that cell, None if it has read all of it."""
    away: dict[str, str] = {}
    ends = clock.monotonic() + LONGEST_S
    async with _asked(places) as answers:
        for at, ((context, place), answer) in enumerate(zip(places, answers, strict=True)):
            if is_full() or (at and clock.monotonic() > ends):
                return Ended(place_in(context, place), away)
            try:
                await answer
                follows = await within(take(context, place), AWAY_S)
            except Unavailable as error:
                away[context.cell] = error.message
                continue
            if follows is not None:
                return Ended(place_in(context, follows), away)
    return Ended(None, away)


@asynccontextmanager
async def _asked(places: Sequence[Place]) -> AsyncIterator[list[asyncio.Task[int]]]:
    """Whether each cell answers, by its own clock; Unavailable within AWAY_S if not."""
    asked = [asyncio.create_task(_answer(context)) for context, _ in places]
    try:
        yield asked
    finally:
        await _give_up(asked)


async def _answer(context: GatewayContext) -> int:
    return await within(context.events.clock_ms(), AWAY_S)


async def first_of(answers: Iterable[Coroutine[Any, Any, Result]]) -> Result:
    """The first answer of several calls, the others of which are given up. NotFound or Unavailable
    if none has one; another error at once."""
    error: NotFound | Unavailable = NotFound("in no cell")
    tasks = [asyncio.create_task(answer) for answer in answers]
    try:
        for done in asyncio.as_completed(tasks):
            try:
                return await done
            except (NotFound, Unavailable) as raised:
                error = raised
        raise error
    finally:
        await _give_up(tasks)


def place_in(context: GatewayContext, place: str) -> str:
    """Where a page ends, in a list of all cells."""
    return f"{context.cell}.{place}"


async def within(answer: Awaitable[Result], within_s: float | None) -> Result:
    """An answer of a cell; Unavailable if it takes longer."""
    try:
        async with asyncio.timeout(within_s):
            return await answer
    except TimeoutError:
        raise Unavailable("Redis did not answer in time", retry_after_s=1) from None


async def _give_up(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
