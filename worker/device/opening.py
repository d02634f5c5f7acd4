"""Opening a device: the GPU that was claimed, one by its name, or the best there is."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from shared.errors import ConfigError
from worker.device.base import Device
from worker.device.cpu import CpuDevice
from worker.device.inventory import NAME, WANT, Gpu, list_gpus


def usable_gpus(visible: str | None) -> list[Gpu]:
    """The GPUs that can be claimed (`inventory.list_gpus`); [] if torch was built for none."""
    built = torch.backends.cuda.is_built()  # type: ignore[no-untyped-call]
    return list_gpus(visible) if built else []


def open_device(which: Gpu | str | None = None, *, threads: int = 1) -> Device:
    """Open a GPU that was claimed; or, claimed by nobody, what a name means ("cpu", "cuda",
    "cuda:1") or the best there is (None). ConfigError if it is not there.

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
    """Which of torch's devices the GPU is: NVML and CUDA may count them in another order.

    Of an instance (MIG) a process sees only one, which may go by the UUID of its GPU.
    ConfigError if torch does not see it.
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
