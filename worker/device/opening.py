"""The device of a worker: claimed, so that no other worker has it, and opened.

Each worker claims a free GPU by its UUID, under a lease in Redis; a worker without a GPU has the
CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

from shared.config import WorkerConfig
from shared.errors import ConfigError
from shared.retry import until_answered
from worker.device.base import Device
from worker.device.cpu import CpuDevice
from worker.device.inventory import NAME, WANT, Gpu, choose, list_gpus

CLAIM_MS = 30_000


class Claims(Protocol):
    """The script that claims a device (`shared/scripts.py`)."""

    async def claim_device(self, worker: str, ttl_ms: int, uuids: Sequence[str]) -> int:
        """Index of the first of `uuids` that is free, or this worker's already; -1 for none."""


async def claim_and_open(config: WorkerConfig, scripts: Claims, visible: str | None) -> Device:
    """The device of this worker: a GPU that no other worker has, or the CPU. `visible`: the value
    of CUDA_VISIBLE_DEVICES. ConfigError if the device of the settings is not to be had."""
    gpus = usable_gpus(visible)
    gpu = await claim(scripts, config.worker_id, config.device, gpus)
    return open_device(gpu or "cpu", threads=config.threads)


async def claim(
    scripts: Claims, worker: str, requested: str, inventory: Sequence[Gpu], ttl_ms: int = CLAIM_MS
) -> Gpu | None:
    """Claim a GPU for as long as the heartbeat renews the claim; None for the CPU. `requested` is
    WARMROUTE_DEVICE. ConfigError if there is no such GPU, or none is free."""
    candidates = choose(inventory, requested)
    if not candidates:
        return None
    uuids = [gpu.uuid for gpu in candidates]
    index = await until_answered(lambda: scripts.claim_device(worker, ttl_ms, uuids))
    if index < 0:
        raise ConfigError(none_free(candidates, requested))
    return candidates[index]


def none_free(candidates: Sequence[Gpu], requested: str) -> str:
    """The error of a worker for which no GPU is left, and what to do."""
    count = len(candidates)
    if ":" in requested:
        return f"WARMROUTE_DEVICE: {requested}, but that GPU is held by another worker"
    one, several = (
        "the only one is held by another worker",
        f"all {count} are held by other workers",
    )
    held = one if count == 1 else several
    return (
        f"no GPU is free: {held}; start at most {count} here, or set WARMROUTE_DEVICE=cpu for one "
        "more without a GPU"
    )


def usable_gpus(visible: str | None) -> list[Gpu]:
    """The GPUs that can be claimed (`inventory.list_gpus`); [] if torch was built without CUDA."""
    built = torch.backends.cuda.is_built()  # type: ignore[no-untyped-call]
    return list_gpus(visible) if built else []


def open_device(which: Gpu | str | None = None, *, threads: int = 1) -> Device:
    """Open a GPU that was claimed; or, without a claim, the device of a name ("cpu", "cuda",
    "cuda:1"), or the best one here (None). ConfigError if it does not exist.

    Call before other threads use torch: `threads` (intra-op) holds for threads that start later.
    """
    if isinstance(which, Gpu):
        return _open_gpu(index_of(which.uuid, _uuids_of_torch()), threads, which.uuid)
    chosen = which or ("cuda" if torch.cuda.is_available() else "cpu")
    match = NAME.fullmatch(chosen)
    if match is None:
        raise ConfigError(f"device {chosen[:40]!r}: {WANT}")
    if chosen == "cpu":
        return CpuDevice(threads)
    if not torch.cuda.is_available():
        raise ConfigError(f"device {chosen}: torch sees no usable GPU here")
    return _open_gpu(int(match[1] or 0), threads)


def index_of(uuid: str, known: Sequence[str]) -> int:
    """The index of a GPU among torch's devices: NVML and CUDA may count in different orders.

    A process sees only one MIG instance, possibly under the UUID of its GPU. ConfigError if torch
    does not see the GPU.
    """
    bare = [name.removeprefix("GPU-").removeprefix("MIG-") for name in (uuid, *known)]
    if bare[0] in bare[1:]:
        return bare[1:].index(bare[0])
    if uuid.startswith("MIG-") and len(known) == 1:
        return 0
    raise ConfigError(f"GPU {uuid}: torch sees {len(known)} GPUs, and this is not among them")


def _uuids_of_torch() -> list[str]:
    count = torch.cuda.device_count()
    return [str(torch.cuda.get_device_properties(number).uuid) for number in range(count)]


def _open_gpu(index: int, threads: int, uuid: str = "") -> Device:
    from worker.device.cuda import CudaDevice  # its driver library is needed only now

    return CudaDevice(index, threads, uuid)
