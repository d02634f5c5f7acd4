"""One look at the repository, shared by all requests for one version that come meanwhile.

A request with an answer at hand waits for it for a limited time; one without an answer until its
deadline.
"""

from __future__ import annotations

import asyncio

from router.catalog.newest import PATIENCE_S, READ_S, Found
from shared import clock
from shared.errors import StoreUnavailable

SHORT_S = 0.1  # from its start, for requests that come again


class SlowStore(StoreUnavailable):
    """The repository has not answered by the deadline of a caller; it is still being read."""


class Look:
    """One look at the repository: `found` is its first result, `task` ends with its last."""

    def __init__(self, found: asyncio.Task[Found], task: asyncio.Task[None]) -> None:
        self.started = clock.monotonic()
        self.found = found
        self.task = task

    async def first(self, what: str, within_s: float) -> Found:
        """Its first result, for a request without an answer. SlowStore, or the error of the
        look."""
        await asyncio.wait([self.found], timeout=within_s)
        if not self.found.done():
            raise SlowStore(f"{what}: the repository has not answered in {within_s:.3g} s")
        return self.found.result()

    async def wait_shortly(self) -> None:
        """Wait for a result that comes at once."""
        left_s = self.started + SHORT_S - clock.monotonic()
        if left_s > 0 and not self.found.done():
            await asyncio.wait([self.found], timeout=left_s)

    async def wait(self, patience_s: float) -> None:
        """Wait for a newer result, for a request that has an answer at hand."""
        left_s = self.started + min(READ_S, patience_s) - clock.monotonic()
        await asyncio.wait([self.found], timeout=max(left_s, 0.0))
        await self.wait_for_trial(patience_s)

    async def wait_for_trial(self, patience_s: float) -> None:
        """Wait for the trial, if there is one, up to `patience_s`."""
        left_s = self.started + min(PATIENCE_S, patience_s) - clock.monotonic()
        if self.found.done() and not self.is_over() and left_s > 0:
            await asyncio.wait([self.task], timeout=left_s)

    def is_over(self) -> bool:
        """Whether it has no further result: it failed, or no newer version is tried."""
        if not self.found.done():
            return False
        failed = self.found.cancelled() or self.found.exception() is not None
        return failed or self.found.result().trial is None or self.task.done()
