"""The one thread that owns the device: each call of a loaded model runs on it.

Most errors of a device call concern that call alone. After a "sticky" CUDA error the context is
lost: every later call, of any model, fails with the same error until the process has ended (CUDA's
documentation of `cudaError` lists these errors). So the process ends itself at once, and its parent
starts another.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from heapq import heappop, heappush
from itertools import count
from typing import Any, TypeVar

from shared.errors import WarmrouteError
from worker.supervisor.restart import DEVICE_LOST

log = logging.getLogger(__name__)
Result = TypeVar("Result")


AT_ONCE = (-1, 0.0)  # before every batch that waits


class DeviceThread:
    """Runs calls one after the other: of those that wait, the one with the lowest order, then in
    the order in which they were submitted."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="device")
        self._lock = threading.Lock()
        self._numbers = count()
        self._waiting: list[tuple[tuple[int, float], int, Callable[[], Any], Future[Any]]] = []

    async def run(self, call: Callable[[], Result], order: tuple[int, float] = AT_ONCE) -> Result:
        """Run `call` on the device thread; its exception is raised here. Ends this process if the
        exception shows that the device is lost to it."""
        return await asyncio.wrap_future(self._submit(call, order))

    def close(self) -> None:
        """Wait for the running call and accept no more."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        for _, _, _, future in self._waiting:
            future.cancel()

    def _submit(self, call: Callable[[], Result], order: tuple[int, float]) -> Future[Result]:
        future: Future[Result] = Future()
        with self._lock:
            heappush(self._waiting, (order, next(self._numbers), call, future))
        self._executor.submit(self._run_first)
        return future

    def _run_first(self) -> None:
        with self._lock:
            _, _, call, future = heappop(self._waiting)
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(watched(call))
        except BaseException as error:
            future.set_exception(error)
        finally:
            del call, future  # an error's traceback would keep them, and they it


# Texts of cudaGetErrorString, as torch ("CUDA error: ...") and onnxruntime ("CUDA failure 700:
# ...") give them. Out of memory and refused launches are not among them: the next call may succeed.
_STICKY = (
    "device-side assert triggered",
    "an illegal memory access was encountered",
    "an illegal instruction was encountered",
    "invalid program counter",
    "misaligned address",
    "operation not supported on global/shared address space",
    "hardware stack error",
    "unspecified launch failure",
    "the launch timed out and was terminated",
    "uncorrectable ECC error encountered",
    "uncorrectable NVLink error detected during the execution",
    "context is destroyed",
)
_PATTERN = re.compile(rf"CUDA (?:error|failure)[ \d]*: (?:{'|'.join(map(re.escape, _STICKY))})")


def is_sticky(error: BaseException) -> bool:
    """Whether `error`, or an error that it was raised from, shows that the CUDA context is lost."""
    # The text of a ModelFailed may quote the model; only the foreign error behind it is evidence.
    foreign = (e for e in _chain(error) if not isinstance(e, WarmrouteError))
    return any(_PATTERN.search(str(e)) for e in foreign)


def exit_if_device_lost(error: BaseException) -> None:
    """End this process, without cleaning up, if `error` shows that its device is lost to it."""
    if is_sticky(error):
        log.critical("the device cannot be used any more, this process ends: %s", error)
        os._exit(DEVICE_LOST)  # not sys.exit: threads may hang in calls that never return


def watched(call: Callable[[], Result]) -> Result:
    """Run `call()`; end this process if the exception shows that the device is lost to it."""
    try:
        return call()
    except Exception as error:
        exit_if_device_lost(error)
        raise


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        yield link
        seen.add(id(link))
        link = link.__cause__ or link.__context__
