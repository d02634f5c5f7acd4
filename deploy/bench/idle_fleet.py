"""Made-up workers and gateways at rest, in one process: the product's own loops, without devices.

Each worker has the connections, the report and the copies of a real one, and its loops send what
they send there at their own intervals. So Redis cannot see the difference.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from router.gateway import Gateway
from shared import clock
from shared.channel import Channel
from shared.config import RouterConfig, WorkerConfig
from shared.connection import BLOCK_MS, redis_errors
from shared.footprint import Footprint
from shared.keys import Keys
from shared.manifest import Manifest
from shared.policy import Policy
from shared.scripts import WorkerScripts
from shared.worker_report import WorkerReport, encode
from worker.heartbeat import HeartbeatThread
from worker.loading.orders import Orders
from worker.membership import Membership
from worker.residency.copies import Copies, Copy
from worker.residency.idle_eviction import EVERY_S, READ_EVERY_S, IdleEvictor
from worker.residency.model_stats import ModelStatsReader
from worker.supervisor.progress import Progress

USUAL = Policy()
COPY_BYTES = 50_000_000
STARTED_AT_ONCE = 50


class HeartbeatTask(HeartbeatThread):
    """A heartbeat whose thread is a task: a thousand threads would measure themselves."""

    def begin(self) -> asyncio.Task[None]:
        self._main = asyncio.get_running_loop()
        return asyncio.create_task(self._renew_always())

    def _on_main(self, work: Coroutine[Any, Any, None]) -> asyncio.Future[None]:
        return asyncio.ensure_future(work)


class IdleWorker:
    """One worker with `copies` models that no request is for."""

    def __init__(self, url: str, keys: Keys, name: str, copies: int) -> None:
        self._calls, self._reads = Channel(url), Channel(url)
        self._keys, self.name = keys, name
        self.copies = Copies()
        for number in range(copies):
            ref = f"{name}-{number}:1:0123456789ab"
            manifest = cast(Manifest, SimpleNamespace(name=f"{name}-{number}", version=1))
            footprint = Footprint(frozenset(), COPY_BYTES)
            self.copies.add(Copy(ref, manifest, cast(Any, None), footprint))
        config = WorkerConfig(redis_url=url, cell=keys.prefix[1:-1])
        self._member = Membership(
            WorkerScripts(self._calls, keys), name, config.lease_s, 3, self._report,
            self.copies.held, look_again=self.copies.look_again,
        )  # fmt: skip
        self._member.state = "ready"
        orders = Orders(self._calls, keys, name, lambda: True, self._load, self._unload)
        self._heartbeat = HeartbeatTask(config, self._member, Progress(), orders)
        context = SimpleNamespace(copies=self.copies, meter=None, batcher=None)
        evictor = SimpleNamespace(busy=lambda copy: False)
        stats = _Stats(self._calls, keys, "cpu")
        self._idle_evictor = IdleEvictor(cast(Any, context), cast(Any, evictor), stats)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Register, announce the copies, begin the loops."""
        await self._member.register()
        self._tasks = [
            self._heartbeat.begin(),
            asyncio.create_task(self._receive()),
            asyncio.create_task(self._look_after_copies()),
        ]

    async def stop(self) -> None:
        """End the loops; the worker's lease runs out."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._calls.aclose()
        await self._reads.aclose()

    def spread_reads(self) -> None:
        """As after a while: the copies are not all read at the same moment."""
        for copy in self.copies.all():
            copy.read_at = clock.monotonic() - random.uniform(0, READ_EVERY_S)

    def _report(self) -> dict[str, Any]:
        use = self.copies.report(lambda ref: 7)
        used = COPY_BYTES * len(use)
        return encode(
            WorkerReport(
                device_name="cpu", device_class="cpu", budget_bytes=2 * used, used_bytes=used,
                host_id="one", copies=use,
                copy_bytes={ref: cast(Any, (COPY_BYTES, 0, 0)) for ref in use},
            )
        )  # fmt: skip

    async def _receive(self) -> None:
        while True:
            with redis_errors():
                await self._reads.execute_command(
                    "XREADGROUP", "GROUP", self._member.epoch, self.name, "COUNT", 64,
                    "BLOCK", BLOCK_MS, "STREAMS", self._keys.work(self.name), ">",
                )  # fmt: skip

    async def _look_after_copies(self) -> None:
        while True:
            await self._idle_evictor.run_once()
            await asyncio.sleep(EVERY_S)

    async def _load(self, ref: str, token: str) -> str:
        raise AssertionError("nothing is ordered")

    async def _unload(self, ref: str) -> None:
        raise AssertionError("nothing is unloaded")


class _Stats(ModelStatsReader):
    """The reads of the real one; the policy is the usual one, as there is no manifest."""

    async def read(self, models: Any) -> Any:
        plain = [(ref, manifest) for ref, manifest in models]
        for _, manifest in plain:
            manifest.residency = USUAL
        return await super().read(plain)


@asynccontextmanager
async def idle_fleet(
    url: str, folder: Path, workers: int, copies: int, gateways: int
) -> AsyncIterator[list[IdleWorker]]:
    """A cell at rest."""
    config = RouterConfig(redis_url=url, model_repository=f"file://{folder}")
    made = [Gateway(config) for _ in range(gateways)]
    fleet = [IdleWorker(url, Keys(config.cell), f"w{n}", copies) for n in range(workers)]
    try:
        for gateway in made:
            await gateway.start()
        for at in range(0, workers, STARTED_AT_ONCE):
            await asyncio.gather(*(w.start() for w in fleet[at : at + STARTED_AT_ONCE]))
        yield fleet
    finally:
        with suppress(Exception):
            await asyncio.gather(*(worker.stop() for worker in fleet))
        await asyncio.gather(*(gateway.stop() for gateway in made))
