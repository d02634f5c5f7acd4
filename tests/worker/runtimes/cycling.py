"""`python -m tests.worker.runtimes.cycling FOLDER CYCLES`: load, run and unload a model, in a
process of its own and as a worker does: loaded by one thread, unloaded by another.

FOLDER holds manifest.json, the files by their hash, and inputs.npz. Prints, as JSON, the bytes
after each cycle and those of the mapped or kept weights that are still alive.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from pathlib import Path

import numpy as np

from shared.manifest import DECODER
from worker.device.cpu import CpuDevice
from worker.device.thread import DeviceThread
from worker.runtimes.base import Trust, load


async def cycle(folder: Path, cycles: int) -> dict[str, list[int]]:
    device, thread = CpuDevice(), DeviceThread()
    manifest = DECODER.decode((folder / "manifest.json").read_bytes())
    files = {entry.name: folder / entry.sha256 for entry in manifest.files}
    inputs = dict(np.load(folder / "inputs.npz"))
    figures: dict[str, list[int]] = {"heap": [], "resident": [], "loaded": [], "alive": []}
    for _ in range(cycles):
        model = await asyncio.to_thread(load, manifest, files, device, Trust(code=True))
        await thread.run(lambda model=model: model.run(inputs))
        figures["loaded"].append(device.memory_used())
        await thread.run(model.unload)
        figures["heap"].append(device.allocated())
        figures["resident"].append(device.memory_used())
        del model
    gc.collect()
    figures["alive"] = [1 for key in device.shared.alive() if key.startswith("blob:")]
    return figures


if __name__ == "__main__":
    print(json.dumps(asyncio.run(cycle(Path(sys.argv[1]), int(sys.argv[2])))))
