"""The device thread in virtual time: one call after the other, the lowest order first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from heapq import heappop, heappush
from typing import Any, TypeVar
from weakref import WeakSet

from tests.simulation.lane import Awaits
from worker.device.thread import AT_ONCE, DeviceThread
from worker.serving.batch_start import LOOK_S, BatchStart
from worker.serving.queued_request import QueuedRequest

Result = TypeVar("Result")
Ran = tuple[asyncio.Future[Any], Any, Exception | None]


class SimDeviceThread(DeviceThread):
    """Its calls take their time on a lane of the loop; a result is there when that is over."""

    _in_hand: tuple[Any, ...] = ()  # a call that waits for news of its batch

    async def run(self, call: Callable[[], Result], order: tuple[int, float] = AT_ONCE) -> Result:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[Any] = loop.create_future()
        heappush(self._waiting, (order, next(self._numbers), call, ended))  # type: ignore[misc]
        loop.run_in_executor(self._executor, self._run_lowest).add_done_callback(_settle)
        return await ended  # type: ignore[no-any-return]

    def _run_lowest(self) -> Ran:
        _, _, call, ended = in_hand = self._in_hand or heappop(self._waiting)
        self._in_hand = ()
        if ended.cancelled():
            return ended, None, None
        try:
            return ended, self._watched(call), None
        except Awaits:
            self._in_hand = in_hand
            raise
        except Exception as error:
            return ended, None, error

    def close(self) -> None:
        """Accept no more."""


def _settle(ran: asyncio.Future[Ran]) -> None:
    ended, result, error = ran.result()
    if ended.done():
        return
    if error is not None:
        ended.set_exception(error)
    else:
        ended.set_result(result)


_LOOKED: WeakSet[BatchStart] = WeakSet()


def taking_up(told: Callable[[Iterable[str]], None]) -> Any:
    """`BatchStart.take_up`, whose wait for news is one in virtual time. `told` hears the ids of the
    requests that the device computes next."""

    def take_up(self: BatchStart, requests: Sequence[QueuedRequest]) -> list[QueuedRequest]:
        self.turn.on_device = True
        if self in _LOOKED:
            _LOOKED.discard(self)
        elif not self._fresh():
            raise Awaits(_look(self))
        allowed = self.allowed(requests)
        told(request.id.decode() for request in allowed)
        return allowed

    return take_up


async def _look(start: BatchStart) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(LOOK_S):
            await start._renew()
    _LOOKED.add(start)
