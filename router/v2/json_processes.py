"""Large JSON is read and written in processes of their own, not on the event loop.

The decoder holds Python's lock, in a thread too, and a gateway's other callers stand: for 1 MiB
20 ms (floats of 18 digits), 95 ms (`0,0,0`) or 300 ms (empty elements of BYTES), for 16 MiB up to
seconds. From `AT_ONCE` on it goes to another process, which costs 1 ms and stops the loop only
while bytes are copied; what is smaller takes 20 ms at worst.

The processes start with the first large body (0.3 to 1 s, 45 MiB each) and end with the gateway.
One that dies takes what it read with it: that is read once more by a new one, and is then refused.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import ParamSpec, TypeVar

from shared.errors import Unavailable
from shared.parent_death import end_with_parent

AT_ONCE = 64 << 10  # bytes of JSON, or of the tensors to be written as JSON
PROCESSES = 2
END_S = 2.0  # for what they have started

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


class JsonProcesses:
    """Runs functions of a module in other processes; arguments and answers are copied there."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    async def run(
        self,
        function: Callable[Arguments, Answer],
        *args: Arguments.args,
        **named: Arguments.kwargs,
    ) -> Answer:
        """What the function returns or raises. Unavailable if its process dies twice."""
        for _ in range(2):
            pool = self._pool = self._pool or _start()
            try:
                return await asyncio.wrap_future(_submit(pool, function, *args, **named))
            except BrokenProcessPool:
                if pool is self._pool:
                    self._pool = None
                    _kill()
        raise Unavailable("the process that reads large JSON died; retry later, or send binary")

    async def stop(self) -> None:
        """End the processes; what they have started is finished first."""
        pool, self._pool = self._pool, None
        if pool is not None:
            ended = asyncio.create_task(asyncio.to_thread(pool.shutdown, cancel_futures=True))
            await asyncio.wait([ended], timeout=END_S)
            _kill()
            await ended


def _submit(
    pool: ProcessPoolExecutor,
    function: Callable[Arguments, Answer],
    *args: Arguments.args,
    **named: Arguments.kwargs,
) -> Future[Answer]:
    """As `pool.submit`, which may be starting a process for this call as it learns that another one
    died: what it closes meanwhile is an OSError here. So is a process that cannot be started."""
    try:
        return pool.submit(function, *args, **named)
    except OSError as error:
        raise BrokenProcessPool(str(error)) from error


def _kill() -> None:
    """End what is left of processes. One that was just started when another died is not ended by
    the pool, waits for a lock of the dead one, and the end of this process would wait for it."""
    for child in multiprocessing.active_children():
        child.kill()


def _start() -> ProcessPoolExecutor:
    """Not forked: threads and connections of a gateway do not survive that."""
    return ProcessPoolExecutor(
        PROCESSES, multiprocessing.get_context("spawn"), _prepare, (os.getpid(),)
    )


def _prepare(gateway: int) -> None:
    """In the new process: Ctrl-C is for the gateway, whose end is that of this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not end_with_parent(gateway, signal.SIGKILL):
        sys.exit(1)
