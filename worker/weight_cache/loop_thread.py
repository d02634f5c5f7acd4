"""An event loop on a thread of its own, and waiting for the real end of what runs there.

A download is many small reads and writes, and a write may wait for the disk: on its own thread it
never delays the loop that serves requests.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")


class LoopThread:
    """Starts at construction; `stop()` when nothing runs on it any more."""

    def __init__(self, name: str) -> None:
        # Not uvloop: for few connections with much data on each it was measured no faster.
        self._loop = asyncio.SelectorEventLoop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Await `coroutine` on the thread. If cancelled, cancel it there and wait for its end,

        so that the caller may then take away the files that it worked on.
        """
        caller = asyncio.get_running_loop()
        ended: asyncio.Future[asyncio.Task[T]] = caller.create_future()
        tasks: list[asyncio.Task[T]] = []

        def start() -> None:
            task = self._loop.create_task(coroutine)
            tasks.append(task)
            task.add_done_callback(lambda done: caller.call_soon_threadsafe(ended.set_result, done))

        self._loop.call_soon_threadsafe(start)
        try:
            await asyncio.wait([ended])
        except asyncio.CancelledError:
            self._loop.call_soon_threadsafe(lambda: tasks[0].cancel())
            await to_the_end(ended)
            raise
        return ended.result().result()

    def stop(self) -> None:
        """Stop the loop and join the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def run_in(
    pool: Executor | None, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run a blocking function in `pool` (None: the loop's own); if cancelled, wait for its end."""
    loop = asyncio.get_running_loop()
    future = loop.run_in_executor(pool, lambda: function(*args, **kwargs))
    try:
        await asyncio.wait([future])
    except asyncio.CancelledError:
        await to_the_end(future)
        raise
    return future.result()


async def to_the_end(future: asyncio.Future[Any]) -> None:
    """Wait until it is done, however often we are cancelled: threads cannot be interrupted."""
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            continue
    if not future.cancelled():
        future.exception()  # retrieved: the cancellation is what is reported
