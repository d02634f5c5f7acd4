"""A worker that loads: the real scripts, evictor and loader around models of a few lines."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from shared.event_log import EventLog
from shared.manifest import Batching, FileEntry, Manifest, ref_of
from tests.helpers.cell import MAX_ATTEMPTS, Cell
from tests.helpers.factories import file_entry, manifest, placing
from tests.helpers.repository import FakeRepository
from tests.helpers.wait import wait_until
from worker.device.thread import DeviceThread
from worker.loading.load_limiter import LoadLimiter
from worker.loading.load_pipeline import LoadPipeline
from worker.loading.loader import Loader
from worker.loading.manifest_reader import ManifestReader
from worker.membership import Membership
from worker.residency.context import WorkerContext
from worker.residency.copies import Copies
from worker.residency.demotion import Demotion
from worker.residency.evictor import Evictor
from worker.residency.host_tier import HostTier
from worker.residency.ledger import Ledger
from worker.residency.memory_manager import MemoryManager
from worker.residency.model_stats import ModelStatsReader
from worker.serving.batch_tensors import Arrays
from worker.serving.batcher import Batcher
from worker.weight_cache.cache import BlobCache

BUDGET = 100


class Cache(BlobCache):
    """Files of a model that are always there. `held` counts who uses them."""

    manifests = Path("/dev/null/manifests")  # nothing can be kept there

    def __init__(self) -> None:
        self.held = 0  # and nothing of a cache on a disk

    async def ensure(
        self, repository: object, files: Sequence[FileEntry], on_bytes: object = None
    ) -> dict[str, Path]:
        self.held += 1
        return {entry.name: Path(__file__) for entry in files}  # a file that is there

    async def missing(self, files: Sequence[FileEntry]) -> list[FileEntry]:
        return []

    def pin(self, files: Sequence[FileEntry]) -> None:
        self.held += 1

    def release(self, files: Sequence[FileEntry]) -> None:
        self.held -= 1


class Model:
    """It gives `x` back as `y`; its worker notes as which batch it ran."""

    shared: dict[str, int] = {}  # noqa: RUF012 - never changed

    def __init__(self, size: int, worker: LoadingWorker) -> None:
        self.bytes_resident = size
        self.unloaded = False
        self._worker = worker

    def run(self, inputs: Arrays) -> Arrays:
        self._worker.ran_as.append(self._worker.parts.progress.running)
        return {"y": inputs["x"]}

    def unload(self) -> None:
        self.unloaded = True


class LoadingWorker:
    """Worker w1 with room for 100 bytes. `sizes`: what a copy proves to take, by model name;
    `errors`: what its load raises."""

    def __init__(self, cell: Cell, concurrency: int = 1) -> None:
        self.cell = cell
        self.repository, self.cache, copies = FakeRepository(), Cache(), Copies()
        self.sizes: dict[str, int] = {}
        self.errors: dict[str, Exception] = {}
        self.loaded: list[str] = []  # names, in the order of their loads
        self.models: dict[str, Model] = {}
        self.ran_as: list[int] = []
        self.alone: list[bool] = []
        self._is_alone = False
        self.go = threading.Event()
        self.go.set()
        member = Membership(cell.scripts, "w1", 10, MAX_ATTEMPTS, dict, copies.held)
        self.parts = WorkerContext(
            scripts=cell.scripts, membership=member, copies=copies, batcher=Batcher(),
            ledger=Ledger(BUDGET), thread=DeviceThread(),
        )  # fmt: skip
        self.loader = self._make_loader(concurrency)

    def _make_loader(self, concurrency: int) -> Loader:
        cell, parts = self.cell, self.parts
        events = EventLog(cell.channel, cell.keys, "w1")
        host = HostTier(0, parts.device)
        demotion = Demotion(host, self.cache, self.repository)
        self.evictor = Evictor(parts, lambda last, since: True, demotion, events)
        self.room = MemoryManager(parts, self.evictor)
        load_pipeline = LoadPipeline(
            parts,
            self.room,
            host,
            self.repository,
            self.cache,
            lambda manifest, files: self.load_model(manifest, files),
            self._alone,
        )
        self.stats = ModelStatsReader(cell.channel, cell.keys, parts.device.device_class)
        return Loader(
            parts, self.evictor, self.room, load_pipeline, self.stats,
            ManifestReader(self.repository, self.cache.manifests), events,
            LoadLimiter(concurrency, 0.0), 10.0,
        )  # fmt: skip

    async def start(self) -> None:
        """Register."""
        self.parts.membership.state = "ready"
        await self.parts.membership.register()

    async def stop(self) -> None:
        """Let what hangs go on, and end."""
        self.go.set()
        await self.loader.stop()
        self.parts.thread.close()

    def publish(self, name: str, size: int, **changes: object) -> str:
        """A model that is said to take `size` bytes; its reference."""
        made = manifest(
            name=name, platform="onnxruntime_onnx", files=[file_entry("model.onnx", size=size)],
            batching=Batching(max_size=1), **changes,
        )  # fmt: skip
        self.sizes[name] = size
        return str(ref_of(made, self.repository.add(made)))

    def load_model(self, manifest: Manifest, files: Mapping[str, Path]) -> Model:
        self.loaded.append(manifest.name)
        self.alone.append(self._is_alone)
        assert self.go.wait(20), "nobody let it go on"
        if manifest.name in self.errors:
            raise self.errors[manifest.name]
        self.models[manifest.name] = Model(self.sizes[manifest.name], self)
        return self.models[manifest.name]

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        assert not self._is_alone
        self._is_alone = True
        try:
            yield
        finally:
            self._is_alone = False

    async def order(self, ref: str) -> str:
        """A request parks and this worker takes the order; the claim."""
        await self.cell.place(placing(ref=ref))
        return await self.loader.accept(ref, await self.cell.token(ref))

    async def load(self, ref: str) -> None:
        """Order it and wait until it is held."""
        await self.order(ref)
        await wait_until(lambda: not self.loader.tasks)
        assert self.parts.copies.get(ref), "it was not loaded"

    async def holders(self, ref: str) -> list[bytes | str]:
        """Whom the map names."""
        return await self.cell.client.hkeys(self.cell.keys.holders(ref))
