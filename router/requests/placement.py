"""Coalesced placement: requests of one turn of the event loop are sent to Redis in one call.

While calls are under way more requests gather, so under load the batches grow by themselves.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from shared.connection import may_have_run
from shared.errors import Unavailable
from shared.placed import Limits, Placed
from shared.scripts import GatewayScripts, Placing
from shared.tasks import BackgroundTasks

MAX_BATCH = 64
MAX_BATCH_BYTES = 4 << 20
MAX_CALLS = 2  # one on its way while the next is gathered


class Placement:
    """`put` a request, await its `Placed`. `abandoned` is called for a request that was placed, or
    may have been (None: no answer came), although its caller had left by then, or its deadline had
    passed (True).
    """

    def __init__(
        self, scripts: GatewayScripts, limits: Limits,
        abandoned: Callable[[Placing, Placed | None, bool], None],
    ) -> None:  # fmt: skip
        self._scripts = scripts
        self.limits = limits
        self._abandoned = abandoned
        self._waiting: deque[tuple[Placing, asyncio.Future[Placed]]] = deque()
        self._calls = 0
        self._scheduled = False
        self._tasks: BackgroundTasks[None] = BackgroundTasks()

    def put(self, item: Placing) -> asyncio.Future[Placed]:
        """Add to this turn's batch. The future fails with Unavailable if Redis does not answer."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Placed] = loop.create_future()
        self._waiting.append((item, future))
        if not self._scheduled and self._calls < MAX_CALLS:
            self._scheduled = True
            loop.call_soon(self._flush)
        return future

    def _flush(self) -> None:
        self._scheduled = False
        while self._waiting and self._calls < MAX_CALLS:
            batch = self._take()
            if not batch:
                return
            self._calls += 1
            self._tasks.start(self._send(batch))

    def _take(self) -> list[tuple[Placing, asyncio.Future[Placed]]]:
        batch: list[tuple[Placing, asyncio.Future[Placed]]] = []
        size = 0
        while self._waiting and len(batch) < MAX_BATCH and size < MAX_BATCH_BYTES:
            item, future = self._waiting.popleft()
            if future.done():
                continue  # its caller has left
            size += len(item.body)
            batch.append((item, future))
        return batch

    async def _send(self, batch: list[tuple[Placing, asyncio.Future[Placed]]]) -> None:
        try:
            rows = await self._scripts.place([item for item, _ in batch], self.limits)
            for (item, future), row in zip(batch, rows, strict=True):
                if future.done():
                    self._abandoned(item, row, not future.cancelled())
                else:
                    future.set_result(row)
        except Exception as error:  # whatever it is, no caller may wait for ever
            certain = isinstance(error, Unavailable) and not may_have_run(error)
            for item, future in batch:
                if future.done() and not certain:
                    self._abandoned(item, None, not future.cancelled())
                elif not future.done():
                    future.set_exception(error)
        finally:
            self._calls -= 1
            self._flush()
