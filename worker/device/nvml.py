"""The only user of NVML: the installed GPUs, and the memory in use on each, by process.

NVML makes no CUDA context, so a query takes no memory on the GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pynvml

from shared.errors import Unavailable

Answer = TypeVar("Answer")

_NO_GPU = (
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
    pynvml.NVML_ERROR_GPU_NOT_FOUND,
)


class Nvml:
    """NVML's view of one GPU or MIG instance, found by its UUID: indices differ from CUDA's where
    CUDA_VISIBLE_DEVICES hides some. Unavailable if the driver's library cannot be used.
    """

    def __init__(self, uuid: str) -> None:
        _ask(pynvml.nvmlInit)
        self._handle = _ask(pynvml.nvmlDeviceGetHandleByUUID, uuid)

    @property
    def name(self) -> str:
        """The product's name."""
        return str(_ask(pynvml.nvmlDeviceGetName, self._handle))

    def memory_total(self) -> int:
        """Bytes that the GPU has."""
        return int(_memory(self._handle).total)

    def memory_used(self) -> int:
        """Bytes in use by all processes; without the driver's own where it reports those."""
        return int(_memory(self._handle).used)

    def used_by(self, pid: int) -> int | None:
        """Bytes in use by one process; None where the driver does not report them, or not under
        this id (in most containers)."""
        try:
            running = pynvml.nvmlDeviceGetComputeRunningProcesses(self._handle)
        except pynvml.NVMLError:
            return None
        return next((p.usedGpuMemory for p in running if p.pid == pid), None)


def installed() -> list[str]:
    """UUIDs of all GPUs in NVML's order (by PCI bus); [] without a driver or a GPU."""
    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError as error:
        if error.value in _NO_GPU:
            return []
        raise Unavailable(f"NVML: {error}") from error
    handles = [_ask(pynvml.nvmlDeviceGetHandleByIndex, number) for number in range(count)]
    return [str(_ask(pynvml.nvmlDeviceGetUUID, handle)) for handle in handles]


def _memory(handle: Any) -> Any:
    try:
        return pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    except pynvml.NVMLError:  # drivers before 510
        return _ask(pynvml.nvmlDeviceGetMemoryInfo, handle)


def _ask(call: Callable[..., Answer], *arguments: Any) -> Answer:
    try:
        return call(*arguments)
    except pynvml.NVMLError as error:
        raise Unavailable(f"NVML: {error}") from error
