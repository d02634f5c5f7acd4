"""The life of a worker, in order: open the device, register, serve, drain, leave."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Sequence
from typing import Self

from shared.channel import Channel
from shared.config import WorkerConfig
from shared.errors import ConfigError, Unavailable
from shared.keys import Keys
from shared.redis_check import check_redis
from shared.redis_kind import check_kind
from shared.retry import until_answered
from shared.service import Loop, Supervisor
from worker.composition import Composition, Send
from worker.device.base import Device
from worker.device.opening import open_device
from worker.health import monitor
from worker.residency import growth, idle_eviction, memory_monitor
from worker.supervisor.progress import Progress
from worker.supervisor.restart import SETTLED_S, RestartRequest

log = logging.getLogger(__name__)

HOT_EVERY_S = 1.0
HOUSEKEEPING = (
    "idle_eviction",
    "memory",
    "growth",
    "slack",
    "guard",
    "host_tier",
    "health",
    "comparison",
    "load_tests",
)
LEAVE_S = 5.0
# To Redis: for calls, for the blocking read of requests, and for the heartbeat, which waits for
# orders too; a fourth one is opened for the first large outcome.
CONNECTIONS = 4


class Worker:
    """One device, its copies and its loops. `send` sends a message to the parent
    (`supervisor/link.py`); the parent reads `progress` if this process dies. `restart`: whether
    this process is to be replaced by a new one once it has drained."""

    def __init__(
        self, config: WorkerConfig, device: Device, calls: Channel, progress: Progress, send: Send
    ) -> None:
        self._config = config
        self._send = send
        self._sent_hot: list[str] = []
        self._stopping = asyncio.Event()
        self.restart = RestartRequest()
        self._services = Composition(
            config, device, calls, progress, send, self.recycle, self.leave_sick
        )
        self._context = self._services.context
        self._membership = self._context.membership
        self._supervisor = Supervisor(self._loops())

    @classmethod
    async def open(
        cls, config: WorkerConfig, progress: Progress, send: Send, gpu: str = ""
    ) -> Self:
        """Open the device; ConfigError if it cannot be used. `gpu`: the UUID of the GPU that this
        worker has claimed, '' for the CPU."""
        device = open_device(config.device, gpu, threads=config.threads, tf32=bool(config.tf32))
        return cls(config, device, Channel(config.redis_url, config.cell), progress, send)

    def _loops(self) -> list[Loop]:
        services = self._services
        return [
            Loop("hot", self._send_hot, HOT_EVERY_S),
            Loop("memory", services.memory_monitor.run_once, memory_monitor.EVERY_S),
            Loop("host_tier", services.resize_host_tier, memory_monitor.EVERY_S),
            Loop("growth", services.growth.run_once, growth.EVERY_S),
            Loop("slack", services.slack.run_once, memory_monitor.TRIM_EVERY_S),
            Loop("health", services.health.run_models, monitor.EVERY_S),
            Loop("comparison", services.health.run_comparison, monitor.EVERY_S),
            Loop("load_tests", services.health.run_loads, monitor.EVERY_S),
            Loop("idle_eviction", services.idle_eviction.run_once, idle_eviction.EVERY_S),
            Loop("guard", services.consumer.guard.run_once),
            Loop("receive", services.receiver.receive_once),
            Loop("dispatch", services.consumer.dispatch_once),
        ]

    async def run(
        self, hot: Sequence[str] = (), served_before: bool = False, suspect: str = "",
        parent: str = "",
    ) -> None:  # fmt: skip
        """Serve until `stop`, then drain. `hot`: models to load, in this order. `served_before`:
        another process of this worker has served. `suspect`: why this one is on probation.
        `parent`: a name of the parent process, unlike that of any other."""
        self._membership.parent = parent
        await self._context.thread.test()
        if suspect:
            self._context.health.on_probation(suspect, SETTLED_S)
        if not served_before:
            await self._check_services()
        await self._start()
        reloading = asyncio.create_task(self._services.loader.reload(hot))
        await self._stopping.wait()
        reloading.cancel()
        await self._stop()

    def stop(self) -> None:
        """Drain and end `run`."""
        self._stopping.set()

    def recycle(self, reason: str) -> bool:
        """Drain and end, to be replaced by a new process that loads the same models. False while
        the parent refuses restarts."""
        if not self.restart.request(reason):
            return False
        self._send(hot=self._context.copies.hot(), recycling=True)  # before any copy is retired
        self._services.events.emit("restarted", reason=reason)
        self.stop()
        return True

    def leave_sick(self, reason: str) -> None:
        """Drain and end as sick: what is wrong is not to be mended from here."""
        self.restart.leave_sick(reason)
        self._send(hot=self._context.copies.hot(), recycling=True, sick=reason)
        self.stop()

    async def _check_services(self) -> None:
        """Check Redis and the repository: a worker that cannot load must not register. A process
        that follows another one checks nothing: it waits for Redis, and serves from its disk while
        the repository does not answer."""
        config = self._config
        strict = bool(config.strict)
        await check_kind(self._services.client, Keys(config.cell), config.redis_url)
        found = await check_redis(
            self._services.client, config.redis_url, cell=config.cell, strict=strict,
            connections=CONNECTIONS,
        )  # fmt: skip
        for warning in found:
            log.warning("Redis: %s", warning)
        await self._services.client.aclose()  # its connection: nothing else is asked over it
        if misfit := self._services.host.misfit():
            if strict:
                raise ConfigError(f"WARMROUTE_STRICT=1: {misfit}")
            log.warning("memory: %s", misfit)
        await asyncio.to_thread(self._services.repository.check)

    async def _start(self) -> None:
        self._membership.state = "ready"
        await until_answered(self._membership.register)
        self._services.heartbeat.start()
        self._supervisor.start()
        log.info(
            "worker %s ready: device %s, budget %d MB", self._membership.worker,
            self._context.device.name, self._context.ledger.budget // 1_000_000,
        )  # fmt: skip

    async def _stop(self) -> None:
        """Drain, hand back the rest, leave. The grace time is for the drain."""
        log.info("worker %s drains", self._membership.worker)
        self._membership.state = "draining"
        try:
            async with asyncio.timeout(self._config.drain_s):
                await self._drain()
            drained = True
        except TimeoutError:
            drained = False
            log.warning("the grace time is over: requests that still run are handed back")
        await self._supervisor.stop()
        await self._leave()
        await self._services.close()
        if drained:
            self._context.thread.close()
        await self._services.heartbeat.close()

    async def _drain(self) -> None:
        """Accept no new loads or requests; finish and answer the running ones."""
        services = self._services
        orders_closed = asyncio.create_task(services.orders.close())
        await self._supervisor.stop(*HOUSEKEEPING)
        await services.loader.stop()
        for ref in self._context.copies.retire_all():
            await until_answered(functools.partial(self._membership.retire, [ref]))
        await self._supervisor.stop("receive", "dispatch")
        await services.consumer.drain()
        # Requests that are handed back may order loads, which this worker must not take.
        await orders_closed

    async def _leave(self) -> None:
        """Hand back what is left; without Redis the end of the lease does the same."""
        try:
            async with asyncio.timeout(LEAVE_S):
                await self._services.heartbeat.stop_renewing()
                await until_answered(self._membership.leave)
        except (TimeoutError, Unavailable):
            log.warning("Redis does not answer: what is left is handed back when the lease ends")

    async def _send_hot(self) -> None:
        """Send the parent the models to load again if this process dies."""
        hot = self._context.copies.hot()
        if hot != self._sent_hot:
            self._sent_hot = hot
            self._send(hot=hot)
