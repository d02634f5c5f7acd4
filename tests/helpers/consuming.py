"""A worker that consumes: the real scripts and loops around a model of a few lines."""

from __future__ import annotations

import asyncio
import threading

import numpy as np

from shared.channel import Channel
from shared.envelope import Envelope, pack, unpack_outcome
from shared.errors import ModelFailed
from shared.event_log import EventLog
from shared.footprint import Footprint
from shared.manifest import Batching
from shared.service import Loop, Supervisor
from tests.helpers.cell import MAX_ATTEMPTS, Cell
from tests.helpers.factories import REF, manifest, placing, tensor
from tests.helpers.wait import wait_until
from worker.device.thread import DeviceThread
from worker.membership import Membership
from worker.residency.context import WorkerContext
from worker.residency.copies import Copies, Copy
from worker.residency.ledger import Ledger
from worker.serving.batch_tensors import Arrays
from worker.serving.batcher import Batcher
from worker.serving.completions import Completions
from worker.serving.consumer import Consumer
from worker.serving.inflight import InflightWindow
from worker.serving.oom_recovery import FreeMemory, nothing_to_free
from worker.serving.receiver import Receiver

PREFETCH = 8
BAD = 666.0


class Model:
    """`y` is `x` doubled; it notes each call, waits for `go` and raises as told if a row is bad."""

    bytes_resident = 0
    shared: dict[str, int] = {}  # noqa: RUF012 - never changed

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.values: list[float] = []
        self.error: Exception = ModelFailed("a bad row")
        self.go = threading.Event()
        self.go.set()

    def run(self, inputs: Arrays) -> Arrays:
        self.calls.append(len(inputs["x"]))
        self.values += inputs["x"][:, 0].tolist()
        assert self.go.wait(20), "nobody let it go on"
        if BAD in inputs["x"]:
            raise self.error
        return {"y": inputs["x"] * 2}

    def unload(self) -> None:
        """Nothing to free."""


class Worker:
    """Worker w1 with one copy of the model, reading over a connection that tests may cut."""

    def __init__(self, cell: Cell, reads: Channel) -> None:
        self.cell, self.model, copies = cell, Model(), Copies()
        membership = Membership(
            cell.scripts, "w1", 10.0, MAX_ATTEMPTS, dict, lambda: {REF: 0}
        )  # fmt: skip
        self.context = WorkerContext(
            scripts=cell.scripts, membership=membership, copies=copies, batcher=Batcher(),
            ledger=Ledger(100), thread=DeviceThread(),
        )  # fmt: skip
        copies.add(Copy(REF, manifest(), self.model, Footprint(frozenset(), 0)))
        self.context.batcher.open(REF, Batching(max_size=4))
        self.free_memory: FreeMemory = nothing_to_free  # a test may set another
        self.inflight = InflightWindow(PREFETCH)
        self.completions = Completions(cell.scripts, membership, self.inflight.release)
        self.receiver = Receiver(
            reads, cell.keys, membership, self.context.batcher, self.inflight, self.completions
        )
        self.events = EventLog(cell.channel, cell.keys, "w1")
        self.consumer = Consumer(
            self.context, self.receiver, self.completions,
            free_memory=lambda: self.free_memory(), events=self.events,
        )  # fmt: skip
        self.supervisor = Supervisor(
            [
                Loop("receive", self.receiver.receive_once),
                Loop("dispatch", self.consumer.dispatch_once),
            ]
        )

    async def send(self, *values: float, priority: int = 5, **changes: object) -> list[str]:
        """Place one request for each value; their ids."""
        items = [placing(body=body(v, priority), **changes) for v in values]
        await self.cell.place(*items)
        return [item.id for item in items]

    def scripts_hold(self, name: str) -> asyncio.Event:
        """From now on calls of a script wait, until `scripts_release`; the event is set when one
        has gone on."""
        run, self._go, passed = self.cell.scripts._run, asyncio.Event(), asyncio.Event()

        async def held(script: str, *args: object) -> object:
            if script == name:
                await self._go.wait()
                passed.set()
            return await run(script, *args)

        self.cell.scripts._run = held  # type: ignore[method-assign,assignment]
        return passed

    def scripts_release(self) -> None:
        """Let the held calls go on."""
        self._go.set()

    async def outcomes(self, count: int) -> dict[str, tuple[str, object]]:
        """What callers are told once there are so many: the value, or the error's text."""

        async def there() -> bool:
            return len(await self.cell.replies()) >= count

        await wait_until(there)
        return {r["id"].decode(): _told(r) for r in await self.cell.replies()}


def body(value: float, priority: int = 5) -> bytes:
    """The envelope of a row of `value`."""
    return pack(Envelope([tensor(np.full((1, 2), value, "<f4"))], priority=priority))


def _told(reply: dict[str, bytes]) -> tuple[str, object]:
    status = reply["status"].decode()
    if status != "succeeded":
        return status, reply["outcome"].decode()
    (y,) = unpack_outcome(reply["outcome"]).outputs
    return status, float(np.frombuffer(y.data, "<f4")[0])
