"""Pages over many cells: silent ones cost one wait, those behind the end of a page none."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from router.rest import cell_turns
from router.rest.cell_turns import first_of, in_turn
from router.rest.context import GatewayContext
from shared.errors import Conflict, NotFound, Unavailable

NEVER_S = 3600.0  # whoever waits for it fails the test by its timeout


class Cells:
    """Made-up cells; the `silent` ones take questions and answer none, the `refused` ones fail."""

    def __init__(self, names: str, silent: str = "", refused: str = "") -> None:
        self.asked: list[str] = []
        self.read: list[tuple[str, str]] = []
        self._silent, self._refused = silent, refused
        self.places = [(self._context(name), "") for name in names]

    def _context(self, name: str) -> GatewayContext:
        async def clock_ms() -> int:
            self.asked.append(name)
            if name in self._silent:
                await asyncio.Event().wait()
            if name in self._refused:
                raise Unavailable("Redis does not answer")
            return 0

        return cast(Any, SimpleNamespace(cell=name, events=SimpleNamespace(clock_ms=clock_ms)))

    async def take(self, context: GatewayContext, place: str) -> str | None:
        """Read all of a cell."""
        assert sorted(self.asked) == [other.cell for other, _ in self.places]
        self.read.append((context.cell, place))
        return None


async def test_silent_cells_are_waited_for_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell has been asked before the first is read; each that did not answer is named."""
    monkeypatch.setattr(cell_turns, "AWAY_S", 0.2)
    cells = Cells("abcdefgh", silent="bcdf", refused="g")
    ended = await in_turn(cells.places, lambda: False, cells.take)
    assert [name for name, _ in cells.read] == ["a", "e", "h"]
    assert ended.next is None
    assert ended.away == {
        **dict.fromkeys("bcdf", "Redis did not answer in time"), "g": "Redis does not answer",
    }  # fmt: skip


async def test_a_cell_behind_the_end_of_the_page_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cell_turns, "AWAY_S", NEVER_S)
    cells = Cells("abc", silent="b")
    ended = await in_turn(cells.places, lambda: bool(cells.read), cells.take)
    assert ended == ("b.", {})

    async def half(context: GatewayContext, place: str) -> str | None:
        return "x1"

    assert await in_turn(cells.places, lambda: False, half) == ("a.x1", {})


async def test_a_page_ends_with_the_cell_that_it_has_reached_in_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With one cell at least, so that the next page is another one."""
    monkeypatch.setattr(cell_turns, "LONGEST_S", -1.0)
    cells = Cells("abc")
    assert await in_turn(cells.places, lambda: False, cells.take) == ("b.", {})
    assert [name for name, _ in cells.read] == ["a"]


async def test_a_cell_that_hangs_while_it_is_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell_turns, "AWAY_S", 0.2)
    cells = Cells("ab")

    async def take(context: GatewayContext, place: str) -> str | None:
        if context.cell == "a":
            await asyncio.Event().wait()
        return await cells.take(context, place)

    ended = await in_turn(cells.places, lambda: False, take)
    assert (ended.next, list(ended.away), cells.read) == (None, ["a"], [("b", "")])


async def _after(ended: asyncio.Event, answer: object) -> object:
    await ended.wait()
    if isinstance(answer, Exception):
        raise answer
    return answer


async def test_the_first_answer_is_not_kept_waiting_by_the_others() -> None:
    """By those that hang, nor by errors that say that it is elsewhere."""
    now, never = asyncio.Event(), asyncio.Event()
    now.set()
    calls = [(never, 1), (now, NotFound("a")), (now, Unavailable("b")), (now, 2), (never, 3)]
    assert await first_of(_after(*call) for call in calls) == 2
    for error in (NotFound("gone"), Unavailable("away")):
        with pytest.raises(type(error)):
            await first_of([_after(now, error)])
    with pytest.raises(Conflict):
        await first_of([_after(never, 1), _after(now, Conflict("it has ended"))])
    with pytest.raises(NotFound):
        await first_of([])
