"""Has models loaded and freed across the fleet, and waits until that is so.

load: order a copy -> look again, less and less often -> held, failed, or nobody can
unload: refused if pinned -> tell the holders -> look again until the copies of then are gone

The scripts may be repeated, so a call whose answer was lost is just made again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from router.catalog.catalog import Entry
from router.fleet.copy_states import CopyState, CopyStates
from router.fleet.footprints import Footprints
from shared import clock
from shared.envelope import unpack_error
from shared.errors import Conflict, Expired, InsufficientMemory, Overloaded, Unavailable
from shared.names import ModelRef
from shared.retry import until_answered
from shared.scripts import Ordered, Scripts

FIRST_PAUSE_S, LONGEST_PAUSE_S, GROWTH = 0.01, 0.5, 1.4
TELL_EVERY_S = 1.0
LAST_LOOK_S = 1.0  # for an answer of Redis when the caller's time is over
CROWDED_S = 5.0  # how long a copy that found no room is not ordered again
MAX_WAITING = 256  # each looks twice a second, for as long as it takes
NAMED_SESSIONS = 3  # a refusal names no more of them

Result = TypeVar("Result")


class Copies:
    """Orders copies and unloads for callers of the API."""

    def __init__(self, scripts: Scripts, states: CopyStates, footprints: Footprints) -> None:
        self._scripts = scripts
        self._states = states
        self._footprints = footprints
        self.waiting = 0

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """One of the callers who may wait at this gateway; Overloaded if there are too many."""
        if self.waiting >= MAX_WAITING:
            raise Overloaded(f"this gateway has its limit of {MAX_WAITING} who wait for models")
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    async def order(self, entry: Entry, least: int | None = None) -> str:
        """Have it loaded unless it is there: held, loading or ordered; raises why it cannot be.
        `least`: copies to keep from now on."""
        return await self._checked(entry, await self._scripts.order_copy(str(entry.ref), least))

    async def load(self, entry: Entry, within_s: float) -> list[str]:
        """Workers that hold the model, as soon as there is one. Expired, or why there is none."""
        ends, pauses, ref = clock.monotonic() + within_s, longer_pauses(), str(entry.ref)
        status = await self.order(entry)
        while status != "held":
            await _pause(next(pauses), ends, f"{_named(entry.ref)}: still loading")
            ordered = await _until(lambda: self._scripts.order_copy(ref), ends)
            status = await self._checked(entry, ordered)
        (state,) = await self._states.of([ref])
        return sorted(state.copies)

    async def unload(self, refs: Sequence[str], within_s: float) -> dict[str, list[str]]:
        """Free every copy there is now; the workers that had one, by ref. Conflict if one is
        pinned: then none is freed. Expired if that takes too long; it goes on."""
        ends = clock.monotonic() + within_s
        for ref in refs:
            await self._refuse_pinned(ref)
        states = dict(zip(refs, await self._states.of(refs), strict=True))
        for ref in refs:  # all at once, before any is waited for
            await self._tell(ref, ends)
        for ref, state in states.items():
            await self._free(ref, state, ends)
        return {ref: sorted(state.copies) for ref, state in states.items()}

    async def _free(self, ref: str, first: CopyState, ends: float) -> None:
        """Wait until the copies of then are gone. What requests ask for meanwhile is loaded again,
        and not waited for."""
        left, loading = first.copies, first.lease if first.extra else ""
        pauses, tell_at = longer_pauses(), clock.monotonic() + TELL_EVERY_S
        while left or loading:
            late = "on its way" if loading else f"held by {', '.join(sorted(left))}"
            await _pause(next(pauses), ends, f"{_named(ModelRef.parse(ref))}: still {late}")
            state = await _until(lambda: self._state(ref), ends)
            if loading and state.lease != loading:  # what had been ordered before came, or failed
                loading, left, tell_at = "", state.copies, 0.0
            left = dict(left.items() & state.copies.items())
            if left and clock.monotonic() >= tell_at:
                await self._tell(ref, ends)
                tell_at = clock.monotonic() + TELL_EVERY_S
        await self._until_freed(ref, first.copies, ends)

    async def _until_freed(self, ref: str, workers: Iterable[str], ends: float) -> None:
        """Who takes no more requests for a copy may still have some to answer."""
        pauses, had = longer_pauses(), set(workers)
        while True:
            left = await _until(lambda: self._states.leaving(ref, had), ends)
            left -= set((await _until(lambda: self._state(ref), ends)).copies)  # loaded again
            if not left:
                return
            late = f"{_named(ModelRef.parse(ref))}: {', '.join(sorted(left))} drains"
            await _pause(next(pauses), ends, late)

    async def _state(self, ref: str) -> CopyState:
        return (await self._states.of([ref]))[0]

    async def _tell(self, ref: str, ends: float) -> None:
        if await _until(lambda: self._scripts.order_unload(ref), ends) < 0:
            await self._refuse_pinned(ref)
            raise Conflict(f"{_named(ModelRef.parse(ref))}: pinned")

    async def _refuse_pinned(self, ref: str) -> None:
        by_policy, sessions = await self._states.pins(ref)
        name = _named(ModelRef.parse(ref))
        if by_policy:
            raise Conflict(f"{name}: pinned by its policy, set its pin to false first")
        if sessions:
            others = len(sessions) - NAMED_SESSIONS
            more = f" and {others} more" if others > 0 else ""
            raise Conflict(f"{name}: pinned by sessions: {', '.join(sessions[:3])}{more}")

    async def _checked(self, entry: Entry, ordered: Ordered) -> str:
        """The status, unless the model is not being loaded: then why."""
        if ordered.status == "nobody":
            raise await self._nobody(entry)
        if ordered.status in ("unloadable", "quarantined"):
            raise unpack_error(ordered.detail.encode())
        return ordered.status

    async def _nobody(self, entry: Entry) -> Unavailable | InsufficientMemory:
        name, budgets = _named(entry.ref), await self._footprints.budgets()
        if not budgets:
            return Unavailable(f"{name}: no worker is ready to load it")
        (needed,) = await self._footprints.of([entry], budgets)
        if needed > max(budgets):
            return InsufficientMemory(
                f"{name}: takes {needed} bytes, the largest budget is {max(budgets)}"
            )
        return Unavailable(f"{name}: no worker can take it now", retry_after_s=CROWDED_S)


def longer_pauses() -> Iterator[float]:
    """Seconds between looks: short at first, for what is nearly there."""
    pause_s = FIRST_PAUSE_S
    while True:
        yield pause_s
        pause_s = min(pause_s * GROWTH, LONGEST_PAUSE_S)


async def _pause(pause_s: float, ends: float, late: str) -> None:
    left_s = ends - clock.monotonic()
    if left_s <= 0:
        raise Expired(f"{late}; that goes on")
    await asyncio.sleep(min(pause_s, left_s))


async def _until(call: Callable[[], Awaitable[Result]], ends: float) -> Result:
    """A call that is made again while Redis does not answer, until the caller's time is over."""
    try:
        async with asyncio.timeout(max(ends - clock.monotonic(), LAST_LOOK_S)):
            return await until_answered(call)
    except TimeoutError:
        raise Unavailable("Redis did not answer in time", retry_after_s=1) from None


def _named(ref: ModelRef) -> str:
    return f"model {ref.name} version {ref.version}"
