"""The device thread in virtual time: one call after the other, the lowest order first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Any, TypeVar

from worker.device.thread import AT_ONCE, DeviceThread
from worker.serving.batch_start import BatchStart
from worker.serving.queued_request import QueuedRequest

Result = TypeVar("Result")
Ran = tuple[asyncio.Future[Any], Any, Exception | None]


class SimDeviceThread(DeviceThread):
    """Its calls take their time on a lane of the loop; a result is there when that is over."""

    async def run(self, call: Callable[[], Result], order: tuple[int, float] = AT_ONCE) -> Result:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[Any] = loop.create_future()
        heappush(self._waiting, (order, next(self._numbers), call, ended))  # type: ignore[misc]
        loop.run_in_executor(self._executor, self._run_lowest).add_done_callback(_settle)
        return await ended  # type: ignore[no-any-return]

    def _run_lowest(self) -> Ran:
        _, _, call, future = heappop(self._waiting)
        ended: Any = future
        if ended.cancelled():
            return ended, None, None
        try:
            return ended, self._watched(call), None
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


def take_up(self: BatchStart, requests: Sequence[QueuedRequest]) -> list[QueuedRequest]:
    """`BatchStart.take_up` where Redis never answers soon: the thread cannot wait in virtual time.
    What is known decides then."""
    self.turn.on_device = True
    return self.allowed(requests)
