"""Threads for calls to the repository, a limited number at a time.

A call that takes long gives its slot to the next one and goes on, so one slow manifest delays no
other lookup; the number of such slow calls is limited too. One that hangs (its connection is dead,
say) is made a second time: all who share it have the answer of the one that is first, soon after
the store is well again. The threads are daemons: one that waits for a store must not keep a gateway
from ending.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial
from typing import Any, ParamSpec, TypeVar

from shared.errors import StoreUnavailable

SLOW_AFTER_S = 1.0
AGAIN_AFTER_S = 5.0

P = ParamSpec("P")
Result = TypeVar("Result")


@dataclass
class _Call:
    has_slot: bool = True


class Slots:
    """Runs `quick` calls at a time, beside up to `slow` that have taken long."""

    def __init__(self, quick: int, slow: int = 0) -> None:
        self._free = asyncio.Semaphore(quick)
        self._slow_left = slow
        self._threads = DaemonThreads()

    async def run(self, call: Callable[..., Result], *args: Any) -> Result:
        """What `call(*args)`, which only reads, returns in a thread; of two calls what the first
        says, unless the store did not answer it. If this wait is cancelled, a call that runs goes
        on and keeps its slot until its end."""
        calls = [asyncio.create_task(self._run(call, *args))]
        try:
            done, _ = await asyncio.wait(calls, timeout=AGAIN_AFTER_S)
            if not done:
                calls.append(asyncio.create_task(self._run(call, *args)))
            return await _first(calls)
        finally:
            for each in calls:
                each.cancel()  # one that waits for a slot is not made any more

    async def _run(self, call: Callable[..., Result], *args: Any) -> Result:
        await self._free.acquire()
        loop, taken = asyncio.get_running_loop(), _Call()
        timer = loop.call_later(SLOW_AFTER_S, self._turn_slow, taken)
        running = loop.run_in_executor(self._threads, call, *args)
        running.add_done_callback(partial(self._end, taken, timer))
        return await asyncio.shield(running)

    def _turn_slow(self, call: _Call) -> None:
        """It has taken long: its slot is free for another, if not too many are slow already."""
        if self._slow_left > 0:
            self._slow_left -= 1
            call.has_slot = False
            self._free.release()

    def _end(self, call: _Call, timer: asyncio.TimerHandle, running: asyncio.Future[Any]) -> None:
        timer.cancel()
        if call.has_slot:
            self._free.release()
        else:
            self._slow_left += 1
        if not running.cancelled():
            running.exception()  # its caller may have left


async def _first(calls: list[asyncio.Task[Result]]) -> Result:
    """The result, or the error, of the first that ends; but StoreUnavailable only of the last."""
    left = set(calls)
    while True:
        done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
        for call in done:
            if not left or not isinstance(call.exception(), StoreUnavailable):
                return call.result()


class DaemonThreads(Executor):
    """A thread for each call; none of them keeps the process from ending."""

    def submit(
        self, fn: Callable[P, Result], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[Result]:
        """Start a call."""
        future: Future[Result] = Future()
        future.set_running_or_notify_cancel()

        def work() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=work, name="repository", daemon=True).start()
        return future
