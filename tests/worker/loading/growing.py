"""`python -m tests.worker.loading.growing FOLDER...`: bring up a model of each folder as a worker
does, run each three times, and compare the ledger with what the process has grown by.

A FOLDER holds manifest.json, the files by their hash, and inputs.npz. The first one is only to set
up what a first load sets up. Prints, as JSON, bytes: `ledger`, `grown` (private, resident), and
`added`, what the ledger says of each model.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from shared.manifest import DECODER, Manifest
from shared.policy import Policy
from worker.device.cpu import CpuDevice
from worker.device.thread import DeviceThread
from worker.loading.load_pipeline import LoadPipeline
from worker.loading.load_request import LoadRequest
from worker.residency.context import WorkerContext
from worker.residency.copies import Copies
from worker.residency.gauge import Gauge
from worker.residency.host_tier import HostTier
from worker.residency.ledger import Ledger
from worker.residency.memory_manager import MemoryManager
from worker.residency.model_stats import ModelStats
from worker.runtimes.base import LoadedModel, Trust, load
from worker.serving.batcher import Batcher

SMAPS = Path("/proc/self/smaps_rollup")


def private() -> int:
    """Bytes that would be free if this process ended: its heap, and files that nobody else maps."""
    lines = [line.split() for line in SMAPS.read_text().splitlines()]
    return sum(int(line[1]) << 10 for line in lines if line[0].startswith("Private_"))


class Cache:
    """Files of all folders."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = folders

    async def missing(self, files: Any) -> list[Any]:
        return []

    async def ensure(self, repository: object, files: Any) -> dict[str, Path]:
        return {entry.name: self._folders[entry.sha256] for entry in files}

    def pin(self, files: Any) -> None:
        """They stay."""

    def release(self, files: Any) -> None:
        """They stay."""


async def grown(folders: list[Path]) -> dict[str, Any]:
    device = CpuDevice()
    nobody: Any = SimpleNamespace(busy=lambda copy: False)
    parts = WorkerContext(
        scripts=nobody, membership=nobody, copies=Copies(), batcher=Batcher(),
        ledger=Ledger(4 << 30), thread=DeviceThread(), device=device, gauge=Gauge(device.live),
    )  # fmt: skip
    manifests = [DECODER.decode((f / "manifest.json").read_bytes()) for f in folders]
    blobs = {
        entry.sha256: folder / entry.sha256
        for folder, manifest in zip(folders, manifests, strict=True)
        for entry in manifest.files
    }

    def load_here(manifest: Manifest, files: Mapping[str, Path]) -> LoadedModel:
        return load(manifest, files, device, Trust(code=True))

    cache: Any = Cache(blobs)
    room, host = MemoryManager(parts, nobody), HostTier(0, device)
    pipeline = LoadPipeline(parts, room, host, nobody, cache, load_here, nullcontext)
    before = (0, 0)
    for folder, manifest in zip(folders, manifests, strict=True):
        ref = f"{manifest.name}:1:{folder.name}"
        brought = await pipeline.run(LoadRequest(ref, manifest, ModelStats(Policy(), None, 0)))
        inputs = dict(np.load(folder / "inputs.npz"))
        for _ in range(3):
            await parts.thread.run(partial(brought.copy.model.run, inputs))
        if folder is folders[0]:
            device.trim()
            before = (parts.ledger.used, private())
    device.trim()
    ledger, now = parts.ledger.used - before[0], private() - before[1]
    parts.thread.close()
    added = [footprint.total for footprint in parts.ledger.entries.values()]
    return {"ledger": ledger, "grown": now, "added": added}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(grown([Path(folder) for folder in sys.argv[1:]]))))
