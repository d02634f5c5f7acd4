"""Threads for calls to the repository, a limited number at a time.

A call that takes long gives its slot to the next one and goes on, so one slow manifest delays no
other lookup; the number of such slow calls is limited too. The threads are daemons: one that waits
for a store must not keep a gateway from ending.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

SLOW_AFTER_S = 1.0

Result = TypeVar("Result")


@dataclass
class _Call:
    has_slot: bool = True


class Slots:
    """Runs `quick` calls at a time, beside up to `slow` that have taken long."""

    def __init__(self, quick: int, slow: int = 0) -> None:
        self._free = asyncio.Semaphore(quick)
        self._slow_left = slow

    async def run(self, call: Callable[..., Result], *args: Any) -> Result:
        """What `call(*args)` returns in a thread. If this wait is cancelled, the call goes on and
        keeps its slot until its end."""
        await self._free.acquire()
        loop, taken = asyncio.get_running_loop(), _Call()
        outcome: asyncio.Future[Result] = loop.create_future()
        timer = loop.call_later(SLOW_AFTER_S, self._turn_slow, taken)

        def end(settle: Callable[[], object]) -> None:
            timer.cancel()
            self._release(taken)
            if not outcome.done():  # else the wait was cancelled
                settle()

        def work() -> None:
            try:
                settle = partial(outcome.set_result, call(*args))
            except BaseException as error:
                settle = partial(outcome.set_exception, error)
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(end, settle)

        threading.Thread(target=work, name="repository", daemon=True).start()
        return await outcome

    def _turn_slow(self, call: _Call) -> None:
        """It has taken long: its slot is free for another, if not too many are slow already."""
        if self._slow_left > 0:
            self._slow_left -= 1
            call.has_slot = False
            self._free.release()

    def _release(self, call: _Call) -> None:
        if call.has_slot:
            self._free.release()
        else:
            self._slow_left += 1
