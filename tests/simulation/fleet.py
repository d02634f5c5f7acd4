"""The gateways and workers of a simulated cell, each run by its own composition root."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from typing import Any

from shared import config as settings
from shared.config import WorkerConfig
from tests.simulation.gateway import ENV, Answer, SimGateway
from tests.simulation.lane import Crashed
from tests.simulation.loop import SimFuture, SimTask
from tests.simulation.process import Process
from tests.simulation.world import LEASE_S, World
from worker.supervisor.parent import Parent


class SimWorker:
    """A worker: a parent, and one device process after the other."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.parent = world.new_process(name)
        self.parent.start(self._main())

    @property
    def device(self) -> Process | None:
        """The device process, if one lives."""
        for process in reversed(self.world.processes):
            if process.peer is self.parent and process.alive:
                return process
        return None

    async def _main(self) -> None:
        env = {**ENV, "WARMROUTE_WORKER_ID": self.name}
        try:
            status = await Parent(settings.read(WorkerConfig, env), env).run()
        except Crashed:
            raise
        except Exception as error:
            self.world.history.violated(f"{self.parent} raised {error!r}")
            status = 1
        self.world.trace.note(self.parent, "ends with", status)
        self.parent.exit(status)

    def kill(self) -> None:
        """The whole worker at once, as when its host goes."""
        device = self.device
        self.parent.kill()
        if device is not None:
            device.kill()


class Fleet:
    """What runs, and what an init system would start again."""

    def __init__(self, world: World, gateways: int, workers: int) -> None:
        self.world = world
        self.stopping = False
        self.replaced: list[SimWorker] = []  # another took their id
        self._serial = 0
        self.gateways = [self._gateway() for _ in range(gateways)]
        self.workers = [SimWorker(world, f"w{n + 1}") for n in range(workers)]

    def _gateway(self) -> SimGateway:
        self._serial += 1
        return SimGateway(self.world, f"g{self._serial}")

    async def keep_up(self) -> None:
        """Start again what has ended, after a while."""
        while True:
            await asyncio.sleep(0.5)
            for at, gateway in enumerate(self.gateways):
                if not gateway.process.alive and await self._after(2.0):
                    self.gateways[at] = self._gateway()
            for at, worker in enumerate(self.workers):
                if not worker.parent.alive and await self._after(4.0):
                    self.workers[at] = SimWorker(self.world, worker.name)

    def whole(self) -> bool:
        """Whether everybody runs and serves."""
        gateways = all(gateway.ready for gateway in self.gateways)
        return gateways and all(self._serves(worker) for worker in self.workers)

    def _serves(self, worker: SimWorker) -> bool:
        return worker.device is not None and (
            self.world.history.loads.epochs.get(worker.name) is worker.device
        )

    async def _after(self, longest_s: float) -> bool:
        """Wait for a while; whether there is still somebody to be started."""
        await asyncio.sleep(self.world.dice.uniform(0.0, longest_s))
        return not self.stopping

    async def end(self) -> None:
        """SIGTERM to all, workers first; return when all have ended."""
        self.stopping = True
        for process in (worker.parent for worker in [*self.workers, *self.replaced]):
            await self._end(process)
        await asyncio.sleep(LEASE_S + 1.5)  # who could not leave in time is reaped
        for gateway in self.gateways:
            await self._end(gateway.process)

    async def _end(self, process: Process) -> None:
        while process.alive and signal.SIGTERM not in process.handlers:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        if process.alive:
            process.signal(signal.SIGTERM)
        while process.alive:  # noqa: ASYNC110
            await asyncio.sleep(0.1)

    def listening(self) -> list[SimGateway]:
        """Gateways that take connections; a paused one does, and does not answer."""
        return [each for each in self.gateways if each.ready]

    async def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One HTTP request to any gateway. ConnectionError: nothing was heard of it."""
        chosen = self.listening()
        if not chosen:
            raise ConnectionRefusedError
        gateway = self.world.dice.choice(chosen)
        await asyncio.sleep(self.world.network.delay())
        if not gateway.process.alive:
            raise ConnectionResetError
        answer = self.world.loop.create_future()
        task = gateway.serve(method, path, body, headers or {})
        self._connect(gateway, task, answer)
        try:
            return await answer  # type: ignore[no-any-return]
        except asyncio.CancelledError:
            self.world.loop.call_later(0.0005, task.cancel, context=gateway.process.context.copy())
            raise

    def _connect(self, gateway: SimGateway, task: SimTask, answer: SimFuture) -> None:
        """The answer travels back; a process that dies resets its connections."""
        network = self.world.network

        def over() -> None:
            if answer.done():
                return
            if task.done() and not task.cancelled():
                answer.set_result(task.result())
            else:
                answer.set_exception(ConnectionResetError())

        def soon(*_: Any) -> None:
            network.at(self.world.loop.now + network.delay(), over)

        task.add_done_callback(soon)
        gateway.process.ended.append(soon)
