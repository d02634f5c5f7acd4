"""Orders to load or unload a model, over two lists: this worker's own, and the cold queue of all.

The scripts choose the worker that can have a model soonest and send it a direct order, on a list of
its own. The same order to load lies in the cold queue, a list of jobs in RQ's format: if the chosen
worker does not take it, or dies, another one takes it after a head start. Either way an order is an
invitation (ref, token); the script `claim_load` decides which worker loads.

One blocking read waits for both, on the connection of the heartbeat and between two beats
(`worker/heartbeat.py`), so that an idle worker costs Redis one read in 2.5 seconds. What it popped
is handed to the event loop, one order at a time: a loop that stands still takes no second one. No
order waits for what another one leads to: loads, unloads and refusals go on in the background.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from shared import clock, failpoints, statuses
from shared.channel import Channel
from shared.connection import redis_errors
from shared.constants import DIRECT_TTL_MS
from shared.errors import WarmrouteError
from shared.keys import Keys
from shared.tasks import BackgroundTasks
from worker.loading.jobs import MAX_JOB_BYTES, call_of
from worker.residency.polling import until

log = logging.getLogger(__name__)

# Between a refused order and the next one of the cold queue: where no other worker takes orders
# now, the refused one lies there again.
REFUSED_PAUSE_S = 0.1
SHORTEST_S = 0.01  # of a blocking read: 0 would be one without an end
SHUT_BLOCK_S = 0.25  # of a read while a load runs: soon after it the cold queue is read again

Accept = Callable[[str, str], Coroutine[Any, Any, str]]


class Orders:
    """What the heartbeat's connection is to read, and what becomes of it. `channel`: for what else
    a job says. `may_load`: whether a load could start; `loading`: whether one runs; `load(ref,
    token)` answers at once, `unload(ref)` returns when the model is freed."""

    def __init__(
        self, channel: Channel, keys: Keys, worker: str, may_load: Callable[[], bool],
        load: Accept, unload: Callable[[str], Coroutine[Any, Any, object]],
        loading: Callable[[], bool] = lambda: False,
    ) -> None:  # fmt: skip
        self._ask = channel.execute_command
        self._keys = keys
        self._own, self._cold = keys.orders(worker), keys.rq_queue()
        self._may_load = may_load
        self._loading = loading
        self._load = load
        self._unload = unload
        self._unloading = BackgroundTasks[object]()  # a copy may have to drain first
        self._looking = BackgroundTasks[None]()
        self._closed = False
        self._cold_at = 0.0  # not before then, of `clock.monotonic`, is the cold queue read
        self.waiting = False  # a read is under way, or its order is dealt with

    # On the heartbeat thread ------------------------------------------------------------------

    def lists(self) -> list[str]:
        """The lists to read now: the cold queue only while a load could start here, so that its
        orders stay for workers with capacity."""
        if self._closed:
            return []
        return [self._own, self._cold] if self._may_take_cold() else [self._own]

    def block_s(self, most_s: float) -> float:
        """How long to read: shorter while a load is all that keeps this worker from the queue."""
        if (pause_s := self._cold_at - clock.monotonic()) > 0:
            return min(most_s, max(pause_s, SHORTEST_S))
        busy = self._loading() and not self._may_load()
        return min(most_s, SHUT_BLOCK_S) if busy else most_s

    def _may_take_cold(self) -> bool:
        return clock.monotonic() >= self._cold_at and self._may_load()

    # On the event loop ------------------------------------------------------------------------

    async def take(self, name: str, item: bytes) -> None:
        """Begin what one entry of the list `name` orders. Never raises but when it is cancelled."""
        try:
            await (self._take_job(item) if name == self._cold else self._take_order(item))
        except WarmrouteError as error:
            log.warning("an order is given up: %s", error.message)  # it is ordered again
        except Exception:
            log.exception("this is a bug: the order %.100r", item)

    async def wake(self) -> None:
        """End the read under way, by an order of nothing."""
        with suppress(WarmrouteError), redis_errors():  # then it ends by itself
            await asyncio.gather(
                self._ask("RPUSH", self._own, ""), self._ask("PEXPIRE", self._own, DIRECT_TTL_MS)
            )

    def look(self) -> None:
        """A load has ended: take the next order of the cold queue, without waiting for one."""
        if not self._closed and self._may_take_cold():
            self._looking.start(self._take_next())

    async def close(self) -> None:
        """Take no more orders; returns once the read under way has ended, and what it brought is
        answered."""
        self._closed = True
        if self.waiting:
            await self.wake()
        await until(lambda: not self.waiting and not len(self._looking))

    async def _take_next(self) -> None:
        try:
            with redis_errors():
                item = await self._ask("LPOP", self._cold)
        except WarmrouteError:
            return
        if item is not None:
            await self.take(self._cold, item)

    async def _take_job(self, item: bytes) -> None:
        job = self._keys.rq_job(item.decode(errors="replace"))
        with redis_errors():
            # Not if it is too large: the queue is open to every client of this Redis.
            size = await self._ask("HSTRLEN", job, "data")
            data = await self._ask("HGET", job, "data") if size <= MAX_JOB_BYTES else b""
            await self._ask("UNLINK", job)
        try:
            ref, token = call_of(data or b"")
        except ValueError as error:
            if size:  # else it is gone: it was cancelled, or another way was faster
                log.error("a job of the cold queue is dropped: %s", error)
            return
        await failpoints.reach("rq.taken")
        if await self._load(ref, token) == statuses.REFUSED:
            self._cold_at = clock.monotonic() + REFUSED_PAUSE_S

    async def _take_order(self, item: bytes) -> None:
        order = item.decode(errors="replace")
        match order.split(" "):
            case ["load", ref, token, *_]:  # a newer release may add words
                if self._may_load():
                    await self._load(ref, token)
            case ["unload", ref, *_]:
                self._unloading.start(self._unload(ref))
            case [""]:
                pass
            case _:
                log.error("an order of unknown form is ignored: %.100r", order)
