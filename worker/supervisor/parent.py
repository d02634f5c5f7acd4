"""The parent of a worker's device process: keeps one running, and fences a dead one.

It imports no torch and touches no device, so what kills the device process leaves it unharmed. It
passes on signals, and kills a device process that runs no Python any more. It ends with its device
process when it was asked to stop, or when a new process would fail likewise.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress

from shared.config import WorkerConfig
from shared.errors import WarmrouteError
from worker.supervisor.child import Child
from worker.supervisor.fencing import Fencing
from worker.supervisor.gpu_claim import GpuClaim
from worker.supervisor.restart import (
    DEVICE_ASSERT,
    DRAINED,
    GIVEN_UP,
    MISCONFIGURED,
    RECYCLED,
    SETTLED_S,
    SICK,
    TAKEN,
)
from worker.supervisor.succession import Succession
from worker.supervisor.watchdog import StallDetector

log = logging.getLogger(__name__)

TICK_S = 0.5
MARGIN_S = 10.0  # what a drain may take beyond its grace time, to hand back and to leave
NO_FORK_S = 1.0


def make_worker_id(config: WorkerConfig) -> str:
    """The configured name, or a unique one of host, process and a random part."""
    if config.worker_id:
        return config.worker_id
    host = socket.gethostname().split(".")[0][:40] or "worker"
    return f"{host}-{os.getpid()}-{secrets.token_hex(2)}"


class Parent:
    """Runs device processes, one after the other, until none is to follow."""

    def __init__(self, config: WorkerConfig, env: Mapping[str, str]) -> None:
        self._config = config
        self._worker = make_worker_id(config)
        self._env = {
            **env,
            "WARMROUTE_WORKER_ID": self._worker,
            # OpenMP counts threads per calling thread: set from within, the device thread would
            # have as many as there are cores, and those of two workers spin against each other.
            "OMP_NUM_THREADS": str(config.threads),
            # MKL's scratch memory, megabytes from the first product on, is given back after each
            # call: kept, it would be taken for a part of the model that is weighed just then. It
            # costs 0 to 4 % of a product, measured from 1 x 16 x 16 to 256 x 512 x 512.
            "MKL_DISABLE_FAST_MM": "1",
        }
        self._fencing = Fencing(config, self._worker)
        self._succession = Succession(self._worker)
        self._stopping = asyncio.Event()
        self._forced = False
        self._registered = False  # once one has, the settings are right
        self._child: Child | None = None
        self._hot: list[str] = []
        self._gpu, self._lost_gpu = GpuClaim(), False

    async def run(self) -> int:
        """Run until the worker has ended; the exit status of both processes."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop_signal)
        status = await self._claim_gpu()
        while status is None:
            status = await self._run_child()
        await self._fencing.close()
        return status

    async def _claim_gpu(self) -> int | None:
        """Claim a GPU, if this worker is to have one; the status to end with if that fails."""
        device, wait_s = self._config.device, self._config.drain_s + MARGIN_S
        try:
            self._env |= await self._gpu.take(device, self._env, wait_s, self._stopping)
        except WarmrouteError as error:
            print(f"warmroute worker: {error.message}", file=sys.stderr)
            return MISCONFIGURED
        return None

    async def _run_child(self) -> int | None:
        """One device process from start to end; None if another is to follow."""
        child = await self._start()
        if child is None:
            return DRAINED
        status = await self._wait_for(child)
        self._child = None
        self._registered |= bool(child.epoch)
        if status not in (DRAINED, TAKEN, RECYCLED, SICK):
            self._fencing.fence(
                child.epoch, child.progress.running, child.cause(status), status != DEVICE_ASSERT
            )
        final = self._final(child, status)
        if final is not None:
            return final
        self._keep_hot(child)
        wait_s = self._succession.wait_s(child, status)
        if wait_s is None:
            return status
        return DRAINED if await self._stopped_within(wait_s) else None

    async def _start(self) -> Child | None:
        """A new device process; None if this worker was stopped before there was one."""
        while not self._stopping.is_set():
            try:
                self._child = await Child.start(
                    self._env, self._hot, self._registered, self._succession.suspect,
                    self._gpu.files,
                )  # fmt: skip
            except OSError as error:  # no memory or no process left, for now
                log.error("worker %s: the device process did not start: %s", self._worker, error)
                await self._stopped_within(NO_FORK_S)
                continue
            if self._succession.not_before_s:
                self._child.refuse_restarts(self._succession.not_before_s)
            if self._stopping.is_set():
                self._child.send(signal.SIGTERM)
            return self._child
        return None

    def _final(self, child: Child, status: int) -> int | None:
        """The status to end with; None if the device process is to be replaced."""
        if self._forced:
            return GIVEN_UP
        if self._lost_gpu:
            return TAKEN
        if status == TAKEN:
            print(
                f"warmroute worker: another process has taken the id {self._worker}: this one ends",
                file=sys.stderr,
            )
        if status in (DRAINED, TAKEN) or (status == MISCONFIGURED and not self._registered):
            return status
        if not self._stopping.is_set():
            return None
        if status in (RECYCLED, SICK):
            return DRAINED
        before_it_began = status == -signal.SIGTERM and not child.epoch
        return DRAINED if before_it_began else GIVEN_UP

    def _keep_hot(self, child: Child) -> None:
        """Keep the list of models to load again. A process that did not live long may not have
        loaded all that it was started with."""
        lost = [] if child.lived_s >= SETTLED_S else self._hot
        self._hot = [*child.hot, *(ref for ref in lost if ref not in child.hot)]

    async def _stopped_within(self, wait_s: float) -> bool:
        """Wait; whether this worker was asked to stop meanwhile."""
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._stopping.wait()
        return self._stopping.is_set()

    # Watching ---------------------------------------------------------------------------------

    async def _wait_for(self, child: Child) -> int:
        guard = asyncio.create_task(self._guard(child))
        try:
            return await child.ended()
        finally:
            guard.cancel()

    async def _guard(self, child: Child) -> None:
        """Kill a device process that lives but runs no Python, as a call holds the interpreter's
        lock for ever; not one that still starts, or that was stopped by a signal."""
        stall = StallDetector(TICK_S)
        while True:
            await asyncio.sleep(TICK_S)
            self._keep_gpu()
            if child.progress.beats == 0 or child.stopped():
                stall.reset()
            elif stall.observe(child.progress.beats) > self._config.lease_s:
                child.kill(f"its device process stood still for {self._config.lease_s:g} s")
                return

    def _keep_gpu(self) -> None:
        """Drain and end if another process has this worker's GPU now."""
        if self._lost_gpu or not (uuid := self._gpu.lost()):
            return
        self._lost_gpu = True
        log.error("worker %s: another process has claimed %s: it drains", self._worker, uuid)
        if not self._stopping.is_set():
            self._on_stop_signal()

    # Signals ----------------------------------------------------------------------------------

    def _on_stop_signal(self) -> None:
        """The first signal lets it drain, the second ends it."""
        if self._stopping.is_set():
            self._force("a second signal to stop")
            return
        self._stopping.set()
        if self._child is not None:
            self._child.send(signal.SIGTERM)
        loop = asyncio.get_running_loop()
        loop.call_later(self._config.drain_s + MARGIN_S, self._force, "the grace time is over")

    def _force(self, why: str) -> None:
        self._forced = True
        if self._child is not None:
            log.warning("worker %s ends at once: %s", self._worker, why)
            self._child.kill(f"its device process was killed: {why}")
