"""Background loops of one shape, and the supervisor that starts, restarts and stops them.

A loop has `run_once()`, which does one round and returns what it counted; tests call that.
A loop that raises is logged, waits and goes on; one that keeps failing makes `healthy` false, and
readiness depends on it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from shared.backoff import wait_s
from shared.errors import WarmrouteError

log = logging.getLogger(__name__)

# Short: what a healed Redis finds waiting is every caller whose answer has come meanwhile.
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 1.0


class Loop:
    """Call `run_once` again and again, `every_s` apart (0: it blocks by itself)."""

    def __init__(
        self, name: str, run_once: Callable[[], Awaitable[object]], every_s: float = 0.0
    ) -> None:
        self.name = name
        self.failures = 0
        self.error = ""  # of the last failure, where it was foreseen
        self._run_once = run_once
        self._every_s = every_s

    async def run(self) -> None:
        """Run until cancelled. A failed round waits with back-off and jitter."""
        while True:
            try:
                await self._run_once()
                # A library may swallow a cancellation (redis-py did, waiting with a timeout).
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    raise asyncio.CancelledError
                self._recovered()
            except asyncio.CancelledError:
                raise
            except Exception as error:
                await self._after_failure(error)
                continue
            await asyncio.sleep(self._every_s)

    def _recovered(self) -> None:
        if self.failures > 1:
            log.info("loop %s: runs again after %d failures", self.name, self.failures)
        self.failures = 0

    async def _after_failure(self, error: Exception) -> None:
        self.failures += 1
        foreseen = isinstance(error, WarmrouteError)
        self.error = str(error) if foreseen else ""
        if self.failures & (self.failures - 1) == 0:  # 1, 2, 4, 8: a long outage fills no log
            # What is ours was foreseen (Redis away); anything else is a bug and shows its stack.
            log.warning("loop %s: %s", self.name, error, exc_info=not foreseen)
        await asyncio.sleep(wait_s(self.failures, FIRST_WAIT_S, LONGEST_WAIT_S))


class Supervisor:
    """Loops in their starting order; stopped in the reverse."""

    def __init__(self, loops: Sequence[Loop]) -> None:
        self._loops = list(loops)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start every loop as a task of the running event loop."""
        self._tasks = [asyncio.create_task(loop.run(), name=loop.name) for loop in self._loops]

    async def stop(self, *names: str) -> None:
        """Stop the named loops, or all, last started first; returns when they have ended."""
        for task in reversed(self._tasks):
            if names and task.get_name() not in names:
                continue
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    @property
    def failing(self) -> list[str]:
        """A sentence for each loop that failed at least three rounds in a row, or ended."""
        ended = {task.get_name() for task in self._tasks if task.done()}
        return [
            f"loop {loop.name} fails" + (f": {loop.error}" if loop.error else "")
            for loop in self._loops
            if loop.failures >= 3 or loop.name in ended
        ]
