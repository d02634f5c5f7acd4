"""The device of a worker. Its GPU was claimed by the parent process (`supervisor/gpu_claim.py`),
which made it the only one that CUDA shows here.
"""

from __future__ import annotations

import torch

from shared.errors import ConfigError
from worker.device.base import Device
from worker.device.cpu import CpuDevice
from worker.device.inventory import NAME, WANT

NO_NVML = (
    "torch sees a GPU here, but NVML does not: a worker needs libnvidia-ml.so.1 (in a container "
    "NVIDIA_DRIVER_CAPABILITIES=compute,utility), or WARMROUTE_DEVICE=cpu to leave the GPU alone"
)


def open_device(
    requested: str = "", claimed: str = "", *, threads: int = 1, tf32: bool = False
) -> Device:
    """The CPU, or the GPU whose UUID is `claimed`. `requested` is WARMROUTE_DEVICE. ConfigError if
    torch cannot use the GPU, or if there is one that was not claimed.

    Call before other threads use torch: `threads` (intra-op) holds for threads that start later,
    and `tf32` (whether a GPU may round the factors of FP32 products) for the whole process.
    """
    if requested and NAME.fullmatch(requested) is None:
        raise ConfigError(f"device {requested[:40]!r}: {WANT}")
    if claimed:
        return _open_gpu(claimed, threads, tf32)
    if requested.startswith("cuda"):
        raise ConfigError(f"device {requested}: torch sees no usable GPU here")
    if not requested and torch.cuda.is_available():
        # NVML counts what other processes use: without it no budget would hold.
        raise ConfigError(NO_NVML)
    return CpuDevice(threads)


def _open_gpu(uuid: str, threads: int, tf32: bool) -> Device:
    count = torch.cuda.device_count()
    if count != 1:
        raise ConfigError(f"GPU {uuid}: torch sees {count} GPUs here, want this one only")
    from worker.device.cuda import CudaDevice  # its driver library is needed only now

    return CudaDevice(uuid, threads, tf32)
