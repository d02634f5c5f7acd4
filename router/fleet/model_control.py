"""Loads and unloads models across the fleet on request, and waits for the result.

load: order a copy -> read its state, less and less often -> held, failed, or impossible
unload: refused if pinned -> order the holders to unload -> read until those copies are evicted

The scripts may be repeated, so a call whose answer was lost is repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from router.catalog.catalog import Entry
from router.fleet.copy_states import CopyState, CopyStates
from router.fleet.footprints import Footprints
from shared import clock, statuses
from shared.envelope import unpack_error
from shared.errors import Conflict, Expired, InsufficientMemory, Overloaded, Unavailable
from shared.names import ModelRef
from shared.retry import until_answered
from shared.scripts import GatewayScripts, Ordered

FIRST_PAUSE_S, LONGEST_PAUSE_S, GROWTH = 0.01, 0.5, 1.4
ORDER_EVERY_S = 1.0
LAST_LOOK_S = 1.0  # for an answer of Redis when the deadline of the caller has passed
NO_CAPACITY_S = 5.0  # for which a copy without a place is not ordered again
MAX_WAITING = 256  # each reads the state twice a second until its end
NAMED_SESSIONS = 3  # a refusal names no more of them

Result = TypeVar("Result")


class ModelControl:
    """Orders copies and unloads for callers of the API."""

    def __init__(self, scripts: GatewayScripts, states: CopyStates, footprints: Footprints) -> None:
        self._scripts = scripts
        self._states = states
        self._footprints = footprints
        self.waiting = 0

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Count a caller that waits at this gateway; Overloaded if there are too many."""
        if self.waiting >= MAX_WAITING:
            raise Overloaded(
                f"{MAX_WAITING} calls wait for models at this gateway, its limit; retry later"
            )
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    async def order(self, entry: Entry, least: int | None = None) -> str:
        """Order a load unless there is a copy: held, loading or ordered; raises why it is
        impossible. `least`: copies to keep from now on."""
        return await self._checked(entry, await self._scripts.order_copy(str(entry.ref), least))

    async def load(self, entry: Entry, within_s: float) -> list[str]:
        """Workers that hold the model, once there is one. Expired, or the error of the load."""
        ends, pauses, ref = clock.monotonic() + within_s, longer_pauses(), str(entry.ref)
        status = await self.order(entry)
        while status != statuses.HELD:
            await _pause(next(pauses), ends, f"{_named(entry.ref)}: still loading")
            ordered = await _until(lambda: self._scripts.order_copy(ref), ends)
            status = await self._checked(entry, ordered)
        (state,) = await self._states.of([ref])
        return sorted(state.copies)

    async def unload(self, refs: Sequence[str], within_s: float) -> dict[str, list[str]]:
        """Evict every present copy; the workers that had one, by ref. Conflict if one is pinned:
        then none is evicted. Expired after `within_s` seconds; the evictions go on."""
        ends = clock.monotonic() + within_s
        for ref in refs:
            await self._refuse_pinned(ref)
        states = dict(zip(refs, await self._states.of(refs), strict=True))
        draining = {ref: await self._leaving(ref, ends) for ref in refs}  # by an earlier call
        for ref in refs:  # all at once, before any is waited for
            await self._order_unload(ref, ends)
        for ref, state in states.items():
            await self._free(ref, state, ends)
        return {ref: sorted({*state.copies, *draining[ref]}) for ref, state in states.items()}

    async def _free(self, ref: str, first: CopyState, ends: float) -> None:
        """Wait until the copies in `first` are evicted. Copies that requests load meanwhile do not
        count."""
        left, loading = first.copies, first.lease if first.extra else ""
        pauses, order_at = longer_pauses(), clock.monotonic() + ORDER_EVERY_S
        while left or loading:
            late = "on its way" if loading else f"held by {', '.join(sorted(left))}"
            await _pause(next(pauses), ends, f"{_named(ModelRef.parse(ref))}: still {late}")
            state = await _until(lambda: self._state(ref), ends)
            if loading and state.lease != loading:  # the earlier order was loaded, or failed
                loading, left, order_at = "", state.copies, 0.0
            left = dict(left.items() & state.copies.items())
            if left and clock.monotonic() >= order_at:
                await self._order_unload(ref, ends)
                order_at = clock.monotonic() + ORDER_EVERY_S
        await self._until_freed(ref, ends)

    async def _until_freed(self, ref: str, ends: float) -> None:
        """Wait until the workers have answered their last requests for the copies, and say so.
        Copies that requests load, and memory takes, meanwhile do not count."""
        pauses, left = longer_pauses(), await self._leaving(ref, ends)
        while left:
            late = f"{_named(ModelRef.parse(ref))}: {', '.join(sorted(left))} drains"
            await _pause(next(pauses), ends, late)
            left &= await self._leaving(ref, ends)

    async def _leaving(self, ref: str, ends: float) -> set[str]:
        name = ModelRef.parse(ref).name
        return (await _until(lambda: self._states.leaving(name), ends)).get(ref, set())

    async def _state(self, ref: str) -> CopyState:
        return (await self._states.of([ref]))[0]

    async def _order_unload(self, ref: str, ends: float) -> None:
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
        """The status; raises why the model is not being loaded."""
        if ordered.status == statuses.NO_WORKER:
            raise await self._impossible(entry)
        if ordered.status in (statuses.UNLOADABLE, statuses.QUARANTINED):
            raise unpack_error(ordered.detail.encode())
        return ordered.status

    async def _impossible(self, entry: Entry) -> Unavailable | InsufficientMemory:
        name, budgets = _named(entry.ref), await self._footprints.budgets()
        if not budgets:
            return Unavailable(f"{name}: no worker is ready to load it")
        (needed,) = await self._footprints.of([entry], budgets)
        if needed > max(budgets):
            return InsufficientMemory(
                f"{name}: needs {needed} bytes, the largest budget of a worker is {max(budgets)}"
            )
        return Unavailable(
            f"{name}: no worker has free memory for it now", retry_after_s=NO_CAPACITY_S
        )


def longer_pauses() -> Iterator[float]:
    """Seconds between reads: short at first, for a load that ends soon."""
    pause_s = FIRST_PAUSE_S
    while True:
        yield pause_s
        pause_s = min(pause_s * GROWTH, LONGEST_PAUSE_S)


async def _pause(pause_s: float, ends: float, late: str) -> None:
    left_s = ends - clock.monotonic()
    if left_s <= 0:
        raise Expired(f"{late}; it goes on")
    await asyncio.sleep(min(pause_s, left_s))


async def _until(call: Callable[[], Awaitable[Result]], ends: float) -> Result:
    """Repeat a call while Redis does not answer, until the deadline of the caller."""
    try:
        async with asyncio.timeout(max(ends - clock.monotonic(), LAST_LOOK_S)):
            return await until_answered(call)
    except TimeoutError:
        raise Unavailable("Redis did not answer in time", retry_after_s=1) from None


def _named(ref: ModelRef) -> str:
    return f"model {ref.name} version {ref.version}"
