"""The life of a worker, in a written order: open the device, register, serve, drain, leave."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Sequence
from typing import Any, Self

from shared.channel import Channel
from shared.config import WorkerConfig
from shared.errors import Unavailable
from shared.keys import Keys
from shared.redis_check import check_redis
from shared.retry import until_answered
from shared.scripts import Scripts
from shared.service import Loop, Supervisor
from shared.worker_report import WorkerReport, encode
from worker.composition import Composition, claim_and_open
from worker.device.base import Device
from worker.heartbeat import HeartbeatThread
from worker.residency import growth, memory_watch, slack
from worker.residency import idle_eviction as idle_eviction
from worker.residency.account import Bookkeeper
from worker.serving.rate import Rate
from worker.supervisor.progress import Progress
from worker.supervisor.restart_request import RestartRequest

log = logging.getLogger(__name__)

HOT_EVERY_S = 1.0
LEAVE_S = 5.0
ENDS = ("succeeded", "failed", "expired")


class Worker:
    """One device, its copies and its loops. `tell` sends a message to the parent (`pair/link.py`),
    and `progress` is what it will find if this process dies. `renewal` says whether this process is
    to be replaced by a new one when it has drained."""

    def __init__(
        self, config: WorkerConfig, device: Device, calls: Channel,
        loop: asyncio.AbstractEventLoop, progress: Progress, tell: Callable[..., None],
    ) -> None:  # fmt: skip
        self._config = config
        self._tell = tell
        self._told: list[str] = []
        self._stopping = asyncio.Event()
        self.renewal = RestartRequest()
        self._all = Composition(config, device, calls, progress, tell, self._report)
        self._parts = self._all.parts
        self.membership = self._parts.membership
        self._cold_queue = self._all.cold_queue(loop)
        self._heart = HeartbeatThread(config, self.membership, progress)
        self._rate = Rate()
        self._bookkeeper = Bookkeeper(self._parts.ledger, self._parts.copies)
        self._watch = self._all.memory_watch(self.renew)
        self._supervisor = Supervisor(
            [
                Loop("hot", self._tell_hot, HOT_EVERY_S),
                Loop("memory", self._watch.run_once, memory_watch.EVERY_S),
                Loop("growth", self._all.growth.run_once, growth.EVERY_S),
                Loop("slack", self._all.slack.run_once, slack.EVERY_S),
                Loop("tidy", self._all.idle_eviction.run_once, idle_eviction.EVERY_S),
                Loop("guard", self._all.guard.run_once),
                Loop("orders", self._all.orders.run_once),
                Loop("receive", self._all.consumer.receive_once),
                Loop("dispatch", self._all.consumer.dispatch_once),
            ]
        )

    @classmethod
    async def open(
        cls, config: WorkerConfig, progress: Progress, tell: Callable[..., None],
        visible: str | None = None,
    ) -> Self:  # fmt: skip
        """Claim and open the device; ConfigError if there is none to be had. `visible`: the value
        of CUDA_VISIBLE_DEVICES."""
        calls = Channel(config.redis_url)
        device = await claim_and_open(config, Scripts(calls, Keys(config.cell)), visible)
        return cls(config, device, calls, asyncio.get_running_loop(), progress, tell)

    async def run(self, hot: Sequence[str] = (), again: bool = False) -> None:
        """Serve until `stop`, then drain. `hot` is loaded again, in this order. `again`: another
        process of this worker has served before."""
        if not again:
            await self._check_surroundings()
        await self._start()
        reloading = asyncio.create_task(self._all.loader.reload(hot))
        await self._stopping.wait()
        reloading.cancel()
        await self._stop()

    def stop(self) -> None:
        """Drain and end `run`."""
        self._stopping.set()

    def renew(self, why: str) -> bool:
        """Drain and end, to be replaced by a new process that loads again what is hot here. False
        while that is held back."""
        if not self.renewal.ask(why):
            return False
        self._tell(hot=self._parts.copies.hot(), renewing=True)  # before anything is retired
        self._all.events.emit("restarted", reason=why)
        self.stop()
        return True

    async def _check_surroundings(self) -> None:
        """A worker that cannot load must not register. What served before is not asked again: it
        waits for Redis, and serves from its disk while the store is away."""
        config = self._config
        strict = bool(config.strict)
        for warning in await check_redis(self._all.client, config.redis_url, strict=strict):
            log.warning("Redis: %s", warning)
        await asyncio.to_thread(self._all.repository.check)

    async def _start(self) -> None:
        self.membership.state = "ready"
        await until_answered(self.membership.register)
        self._heart.start()
        self._supervisor.start()
        self._cold_queue.start()
        log.info(
            "worker %s ready: device %s, budget %d MB", self.membership.worker,
            self._parts.device.name, self._parts.ledger.budget // 1_000_000,
        )  # fmt: skip

    async def _stop(self) -> None:
        """Drain, hand back the rest, leave. The grace time is for the first of these."""
        log.info("worker %s drains", self.membership.worker)
        self.membership.state = "draining"
        try:
            async with asyncio.timeout(self._config.drain_s):
                await self._drain()
            drained = True
        except TimeoutError:
            drained = False
            log.warning("the grace time is over: what runs is handed back")
        await self._supervisor.stop()
        await self._leave()
        await self._all.close()
        if drained:
            self._parts.thread.close()
        await self._heart.close()

    async def _drain(self) -> None:
        """No new loads or requests; what runs ends and is answered."""
        queue_stopped = asyncio.create_task(self._cold_queue.stop())
        await self._supervisor.stop("orders", "tidy", "memory", "growth", "slack", "guard")
        await self._all.loader.stop()
        for ref in self._parts.copies.retire_all():
            await until_answered(functools.partial(self.membership.retire, [ref]))
        await self._supervisor.stop("receive", "dispatch")
        await self._all.consumer.drain()
        # What is handed back may have to be loaded elsewhere: that order is not for us to take.
        await queue_stopped

    async def _leave(self) -> None:
        """Hand back what is left; without Redis the end of the lease does the same."""
        try:
            async with asyncio.timeout(LEAVE_S):
                await self._heart.rest()
                await until_answered(self.membership.leave)
        except (TimeoutError, Unavailable):
            log.warning("Redis does not answer: what is left is handed back when the lease ends")

    async def _tell_hot(self) -> None:
        """The parent knows what to load again if this process dies."""
        hot = self._parts.copies.hot()
        if hot != self._told:
            self._told = hot
            self._tell(hot=hot)

    def _report(self) -> dict[str, Any]:
        """What the heartbeat says of this worker. Asked from the heart's thread too."""
        parts, bulk, host = self._parts, self._all.bulk, self._all.host
        bytes_now = self._bookkeeper.account()
        counts = self._all.consumer.completions.counts
        return encode(
            WorkerReport(
                device_name=parts.device.name,
                device_class=parts.device.device_class,
                gpu_uuid=parts.device.uuid,
                host_id=bulk.host if bulk else "",
                budget_bytes=parts.ledger.budget,
                used_bytes=bytes_now.used,
                shared_bytes=bytes_now.shared,
                reserved_bytes=bytes_now.reserved,
                unaccounted_bytes=self._watch.unaccounted,
                host_budget_bytes=host.budget,
                host_used_bytes=host.used,
                max_models=self._config.max_models,
                loads_running=self._all.loader.loads,
                completed_per_s=self._rate.at(sum(counts[end] for end in ENDS)),
                service_ms=round(parts.meter.service_ms, 3),
                busy_share=round(parts.meter.busy, 3),
                contended=int(self._all.room.contended()),
                copies=parts.copies.report(parts.meter.hits),
                copy_bytes=bytes_now.parts,
            )
        )
