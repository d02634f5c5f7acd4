"""Made-up workers at rest: the product's own loops, without devices.

Each worker has the connections, the report and the copies of a real one, and its loops send what
they send there at their own intervals. So Redis cannot see the difference.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any, cast

from deploy.bench.scale.fleet import COPY_BYTES, Member
from shared import clock
from shared.channel import Channel
from shared.config import WorkerConfig
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
REPORT_EVERY_S = 5.0  # a report is made: what it says changes within ten seconds, as in a worker


class HeartbeatTask(HeartbeatThread):
    """A heartbeat whose thread is a task: a thousand threads would measure themselves."""

    def begin(self) -> asyncio.Task[None]:
        self._main = asyncio.get_running_loop()
        return asyncio.create_task(self._renew_always())

    def _on_main(self, work: Coroutine[Any, Any, None]) -> asyncio.Future[None]:
        return asyncio.ensure_future(work)


class IdleWorker:
    """A registered worker, whose models no request is for."""

    def __init__(self, url: str, keys: Keys, member: Member) -> None:
        self._calls, self._reads = Channel(url), Channel(url)
        self._keys, self.name = keys, member.name
        self.copies = Copies()
        for ref in member.refs:
            manifest = cast(Manifest, SimpleNamespace(name=ref.partition(":")[0], version=1))
            footprint = Footprint(frozenset(), COPY_BYTES)
            self.copies.add(Copy(ref, manifest, cast(Any, None), footprint))
        config = WorkerConfig(redis_url=url, cell=keys.prefix[1:-1])
        self._member = Membership(
            WorkerScripts(self._calls, keys), member.name, config.lease_s, 3, self._report,
            self.copies.held, look_again=self.copies.look_again,
        )  # fmt: skip
        self._member.state, self._member.epoch = "ready", member.epoch
        self._member.incarnation = member.incarnation
        orders = Orders(self._calls, keys, member.name, lambda: True, self._load, self._unload)
        self._heartbeat = HeartbeatTask(config, self._member, Progress(), orders)
        context = SimpleNamespace(copies=self.copies, meter=None, batcher=None)
        evictor = SimpleNamespace(busy=lambda copy: False)
        stats = _Stats(self._calls, keys, "cpu")
        self._idle_evictor = IdleEvictor(cast(Any, context), cast(Any, evictor), stats)
        self._tasks: list[asyncio.Task[None]] = []
        self._made: tuple[float, dict[str, Any]] = (0.0, {})

    async def start(self) -> None:
        """Begin the loops, as after a while: the copies are not all read at the same moment."""
        await self._calls.execute_command("PING")
        for copy in self.copies.all():
            copy.read_at = clock.monotonic() - random.uniform(0, READ_EVERY_S)
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

    def _report(self) -> dict[str, Any]:
        made_at, report = self._made
        if not report or clock.monotonic() - made_at > REPORT_EVERY_S:
            report = self._make_report()
            self._made = (clock.monotonic(), report)
        return report

    def _make_report(self) -> dict[str, Any]:
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
            now = clock.monotonic()
            if any(now - copy.read_at >= READ_EVERY_S for copy in self.copies.all()):
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
