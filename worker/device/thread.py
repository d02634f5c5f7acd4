"""The one thread that owns the device: each call of a loaded model runs on it.

Most errors of a device call concern that call alone. After others the context is lost: every later
call, of any model, fails until the process has ended. So after each error but out of memory the
device is tested (`self_test.py`). If it fails the test the process ends itself at once, and its
parent starts another.

An assertion that an input violates (an index out of range) also costs the context. If the call was
of one request, that request is to blame: it fails with this cause before the process ends, and is
run nowhere else.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from heapq import heappop, heappush
from itertools import count
from typing import Any, TypeVar

from shared.errors import InvalidInput, ModelFailed
from worker.device.base import DeviceOutOfMemory
from worker.device.out_of_memory import out_of_memory
from worker.supervisor.restart import DEVICE_ASSERT, DEVICE_LOST
from worker.supervisor.watchdog import SELF_TEST_S

log = logging.getLogger(__name__)
Result = TypeVar("Result")

# As CUDA's texts have it. This decides which request is to blame, not whether the device is lost.
_ASSERTION = "device-side assert"

AT_ONCE = (-1, 0.0)  # before every batch that waits


class DeviceAsserted(ModelFailed):
    """The device stopped at an assertion in a call of one request. Callers receive it as
    ModelFailed."""

    def __init__(self) -> None:
        super().__init__(
            "the device stopped at an assertion in this call: most likely an index in an input is "
            "out of range, such as a token id beyond the vocabulary"
        )


class DeviceThread:
    """Runs calls one after the other: of those that wait, the one with the lowest order, then in
    the order in which they were submitted. `self_test()`: why the device cannot be used, '' if it
    can. `end(status)` ends the process without cleaning up: threads may hang in calls that never
    return."""

    def __init__(
        self, self_test: Callable[[], str] = lambda: "", end: Callable[[int], object] = os._exit
    ) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="device")
        self._self_test = self_test
        self._end = end
        self._asserted, self._ending = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._numbers = count()
        self._waiting: list[tuple[tuple[int, float], int, Callable[[], Any], Future[Any]]] = []

    @property
    def asserted(self) -> bool:
        """Whether the device has stopped at an assertion: once its request is answered, this
        process is to end with DEVICE_ASSERT."""
        return self._asserted.is_set()

    async def run(self, call: Callable[[], Result], order: tuple[int, float] = AT_ONCE) -> Result:
        """Run `call` on the device thread; its exception is raised here. Ends this process if the
        device is lost to it."""
        return await asyncio.wrap_future(self._submit(call, order))

    async def test(self) -> None:
        """Test the device at the start; this process ends if it cannot be used."""
        try:
            async with asyncio.timeout(SELF_TEST_S):
                await self.test_after(RuntimeError("the start of this process"))
        except TimeoutError:
            log.critical("the device does not answer a self-test: this process ends")
            self._end(DEVICE_LOST)

    async def test_after(self, error: BaseException) -> None:
        """Examine an `error` of another thread that has used the device."""
        await self.run(lambda: self.examine(error))

    def examine(self, error: BaseException, requests: int = 0) -> None:
        """On the device thread, after `error` in a call of so many requests: end this process if
        its device is lost. DeviceAsserted if the one request of the call is to blame."""
        if is_no_evidence(error):
            return
        failure = self._self_test()
        if not failure:
            return
        status, assertion = DEVICE_LOST, _ASSERTION in failure or is_assertion(error)
        log.critical("the device cannot be used any more (%s), after: %r", failure, str(error))
        if requests and assertion:
            status = DEVICE_ASSERT
            if requests == 1:
                self._asserted.set()
                raise DeviceAsserted from error
        self._end(status)

    def end_asserted(self) -> None:
        """End this process: the request that made the device stop is answered."""
        self._end(DEVICE_ASSERT)
        self._ending.set()

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
            future.set_result(self._watched(call))
        except BaseException as error:
            future.set_exception(error)
        finally:
            del call, future  # an error's traceback would keep them, and they it

    def _watched(self, call: Callable[[], Result]) -> Result:
        if self.asserted:
            self._ending.wait()  # any call would fail; its requests run again elsewhere
        try:
            return call()
        except DeviceAsserted:
            raise
        except Exception as error:
            self.examine(error)
            raise


def is_assertion(error: BaseException) -> bool:
    """Whether `error`, or an error that it was raised from, is an assertion of device code."""
    return any(_ASSERTION in str(link) for link in _chain(error))


def is_no_evidence(error: BaseException) -> bool:
    """Whether `error` says nothing about the device: it is full, or the input was refused."""
    return isinstance(error, (InvalidInput, DeviceOutOfMemory)) or bool(out_of_memory(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        yield link
        seen.add(id(link))
        link = link.__cause__ or link.__context__
