"""Taking back, in the background, what nobody waits for any more.

A caller is told of its deadline, or that Redis does not answer, without waiting for this. Best
effort: what is not taken back runs, or ends at its deadline, and nobody hears of it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from shared import retry
from shared.errors import Unavailable
from shared.scripts import Scripts

MOST = 1000  # under way at once; a cancel costs little, but Redis may be away for long
GIVE_UP_S = 30.0


class Cancels:
    """Cancels under way."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._tasks: set[asyncio.Task[str]] = set()

    def soon(
        self, request_id: str, stream: str = "", entry: str = "", late: str = ""
    ) -> asyncio.Task[str] | None:
        """Cancel a request; `stream` and `entry` say where it is if it may have no record, `late`
        that its time is up: its ref. The task's result is the answer, '' if there was none. None
        if too many are under way."""
        if len(self._tasks) >= MOST:
            return None
        task = asyncio.create_task(self._cancel(request_id, stream, entry, late))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def finish(self, longest_s: float) -> None:
        """Wait for those under way, then give up; afterwards Redis may be closed."""
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=longest_s)
            for task in left:
                task.cancel()

    async def _cancel(self, request_id: str, stream: str, entry: str, late: str) -> str:
        """A second cancel changes nothing, so it may be repeated."""
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(GIVE_UP_S):
                return await retry.until_answered(
                    lambda: self._scripts.cancel(request_id, stream, entry, late)
                )
        return ""
