"""One look at the repository, which all who ask for a model meanwhile share.

    read what is there -> [a newer version is tried -> its verdict -> read again ...]

Who has an answer at hand waits for either only so long.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from router.catalog.newest import Found

READ_S = 1.0  # how long a request that has an answer at hand waits for the store
PATIENCE_S = 10.0  # how long it waits for the trial of a newer version
FIRST_PAUSE_S, LONGEST_PAUSE_S, GROWTH = 0.02, 0.5, 1.3


class Look:
    """One look at the repository: `found` is its first answer, `task` ends with its last."""

    def __init__(self, found: asyncio.Task[Found], task: asyncio.Task[None]) -> None:
        self.begun = time.monotonic()
        self.found = found
        self.task = task

    async def wait(self, patience_s: float) -> None:
        """For one who has an answer at hand."""
        left_s = self.begun + min(READ_S, patience_s) - time.monotonic()
        await asyncio.wait([self.found], timeout=max(left_s, 0.0))
        await self.wait_for_trial(patience_s)

    async def wait_for_trial(self, patience_s: float) -> None:
        """If there is one; until its verdict, or `patience_s` is over."""
        left_s = self.begun + min(PATIENCE_S, patience_s) - time.monotonic()
        if self.found.done() and not self.is_over() and left_s > 0:
            await asyncio.wait([self.task], timeout=left_s)

    def is_over(self) -> bool:
        """Whether nothing more will come of it: it has failed, or no newer version is tried."""
        if not self.found.done():
            return False
        failed = self.found.cancelled() or self.found.exception() is not None
        return failed or self.found.result().trial is None or self.task.done()


def pauses() -> Iterator[float]:
    """Between looks at a trial, seconds: longer each time, PATIENCE_S in all."""
    pause_s, left_s = FIRST_PAUSE_S, PATIENCE_S
    while left_s > 0:
        yield pause_s
        left_s -= pause_s
        pause_s = min(pause_s * GROWTH, LONGEST_PAUSE_S)
