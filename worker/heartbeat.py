"""The heartbeat of a worker: a thread of its own that renews the lease and checks for stalls.

It has its own event loop and connection, so neither a blocked main loop nor the transfer of a large
payload costs the worker its lease. The main loop acts on the answers. Between two beats the
connection waits for orders: each worker has as few connections as can be.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from shared import clock, statuses
from shared.channel import Channel
from shared.config import WorkerConfig
from shared.connection import COMMAND_TIMEOUT_S, redis_errors, refuses_data
from shared.errors import Unavailable, WarmrouteError
from shared.keys import Keys
from shared.scripts import WorkerScripts
from worker.loading.orders import SHORTEST_S, Orders
from worker.membership import BEAT_EVERY_S, Membership
from worker.supervisor.progress import Progress
from worker.supervisor.restart import TAKEN
from worker.supervisor.watchdog import Watchdog

log = logging.getLogger(__name__)

REST_S = COMMAND_TIMEOUT_S / 2
TICK_S = 0.25
TURN_S = 0.5
CLOSE_S = 2.0


class HeartbeatThread:
    """Started once the worker is registered. `end` is called with an exit status when this process
    has to end at once."""

    def __init__(
        self, config: WorkerConfig, membership: Membership, progress: Progress,
        orders: Orders | None = None, end: Callable[[int], object] = os._exit,
    ) -> None:  # fmt: skip
        self._redis_url, self._keys = config.redis_url, Keys(config.cell)
        self._membership = membership
        self._progress = progress
        self._orders = orders
        self._order: asyncio.Future[None] | None = None  # one that the main loop deals with
        self._end = end
        self._every_s = min(BEAT_EVERY_S, config.lease_s / 4)
        self._answer_s = config.lease_s / 2  # then another connection is tried
        # Of a worker without news: its blocking read ends within half of its connection's timeout.
        self._rest_s = max(self._every_s, min(REST_S, config.lease_s / 4))
        self._watchdog = Watchdog(
            progress,
            tick_s=TICK_S,
            stuck_s=config.stuck_s,
            patience_s=max(config.lease_s, config.stuck_s),
        )
        self._turns = 0
        self._silent = False
        self._due = 0.0  # the next beat, of `clock.monotonic`
        self._stopping, self._closed = threading.Event(), threading.Event()
        self._acting: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    # On the main loop -------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to renew the lease, and to check the running event loop."""
        self._main = asyncio.get_running_loop()
        self._turn()
        self._thread.start()

    async def stop_renewing(self) -> None:
        """Renew the lease no more, so that the worker can leave; a registration under way ends
        first. Stalls are still checked, and progress is still shown to the parent."""
        self._stopping.set()
        if self._acting is not None:
            await self._acting

    async def close(self) -> None:
        """End the thread. The last step of a worker."""
        self._stopping.set()
        self._closed.set()
        await asyncio.to_thread(self._thread.join, CLOSE_S)
        self._turning.cancel()

    def _turn(self) -> None:
        self._turns += 1
        self._turning = self._main.call_later(TURN_S, self._turn)

    def _on_answer(self, answer: str, epoch: str) -> None:
        if self._stopping.is_set():
            return  # it was on its way when this worker began to leave
        if self._acting is None or self._acting.done():
            self._acting = self._main.create_task(self._act_on(answer, epoch))

    async def _act_on(self, answer: str, epoch: str) -> None:
        try:
            await self._membership.handle_answer(answer, epoch)
        except WarmrouteError as error:
            log.warning("announcing: %s", error.message)  # the next heartbeat finds what is missing
        except Exception:
            log.exception("this is a bug: the answer %s to a heartbeat", answer)

    # On its own thread ------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.run(self._beat())

    async def _beat(self) -> None:
        renewing = asyncio.create_task(self._renew_always())
        while not self._closed.is_set():
            self._progress.beat()
            if status := self._watchdog.check(self._turns):
                self._end(status)
            if self._stopping.is_set():
                renewing.cancel()
            await asyncio.sleep(TICK_S)

    async def _renew_always(self) -> None:
        while True:
            channel = Channel(self._redis_url, self._keys.cell)
            try:
                await self._renew_over(channel)
            except Exception:
                log.exception("this is a bug: the lease was not renewed")
                await asyncio.sleep(self._every_s)
            finally:
                await channel.aclose()

    async def _renew_over(self, channel: Channel) -> None:
        """Renew the lease over one connection, until that goes silent."""
        scripts = WorkerScripts(channel, self._keys)
        with suppress(TimeoutError):
            while True:
                pause = self._every_s if self._membership.has_news() else self._rest_s
                await self._renew(scripts)
                self._due = clock.monotonic() + pause
                looking = asyncio.create_task(self._look_for_news())
                try:
                    await self._wait_for_orders(channel)
                finally:
                    looking.cancel()

    async def _look_for_news(self) -> None:
        """The next beat is not put off if it has something to write."""
        while self._due - clock.monotonic() > self._every_s:
            await asyncio.sleep(self._every_s)
            if self._membership.has_news():
                self._due = clock.monotonic()
                if self._orders is not None and self._orders.waiting and self._order is None:
                    self._on_main(self._orders.wake())

    async def _wait_for_orders(self, channel: Channel) -> None:
        """Hand orders to the main loop until the next beat is due; TimeoutError if the connection
        has gone silent."""
        while (left := self._due - clock.monotonic()) > SHORTEST_S:
            pause = min(left, self._every_s)  # news are not waited for here
            if self._order is not None:
                await asyncio.wait([self._order], timeout=pause)
            elif self._orders is None or not await self._read(self._orders, channel, left):
                await asyncio.sleep(pause)

    async def _read(self, orders: Orders, channel: Channel, left: float) -> bool:
        """Whether there was a list to read."""
        orders.waiting = True  # before the look: who closes then waits for the end of this read
        try:
            if not (lists := orders.lists()):
                return False
            block = orders.block_s(left)
            async with asyncio.timeout(block + self._answer_s):
                with redis_errors():
                    found = await channel.execute_command("BLPOP", *lists, f"{block:.3f}")
            if found:
                self._order = self._on_main(orders.take(found[0].decode(), found[1]))
                self._order.add_done_callback(self._order_taken)
        except Unavailable as error:
            if refuses_data(error):
                log.error("orders cannot be read: %s", error.message)
            await asyncio.sleep(self._due - clock.monotonic())
        finally:
            orders.waiting = self._order is not None
        return True

    def _order_taken(self, _: asyncio.Future[None]) -> None:
        self._order = None
        if self._orders is not None:
            self._orders.waiting = False

    def _on_main(self, work: Coroutine[Any, Any, None]) -> asyncio.Future[None]:
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._main))

    async def _renew(self, scripts: WorkerScripts) -> None:
        epoch = self._membership.epoch
        try:
            async with asyncio.timeout(self._answer_s):
                answer = await self._membership.renew(scripts)
        except (Unavailable, TimeoutError) as error:
            if not self._silent:
                log.warning("the lease is not renewed: %s", str(error) or "no answer in time")
            self._silent = True
            if isinstance(error, TimeoutError):
                raise
            return
        self._silent = False
        if answer == statuses.TAKEN:
            self._end(TAKEN)
        elif answer != statuses.OK and not self._stopping.is_set():
            with suppress(RuntimeError):  # the main loop has ended
                self._main.call_soon_threadsafe(self._on_answer, answer, epoch)
