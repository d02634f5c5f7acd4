"""The only user of NVML: the installed GPUs and their instances (MIG), and the memory in use on
each, by process.

NVML makes no CUDA context, so a query takes no memory on the GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import pynvml

from shared.errors import Unavailable

Answer = TypeVar("Answer")

_NO_GPU = (
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
    pynvml.NVML_ERROR_GPU_NOT_FOUND,
)


class NotReported(Unavailable):
    """The driver has no such figure for this GPU: one that shares the host's memory."""


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

    def close(self) -> None:
        """Let the driver go; no other call may follow."""
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()

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


@contextmanager
def session() -> Iterator[bool]:
    """NVML for as long as the block runs; sessions may be nested. False without a driver or a GPU,
    Unavailable if the driver is broken. A process that only lists GPUs lets the driver go again."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        if error.value not in _NO_GPU:
            raise Unavailable(f"NVML: {error}") from error
        yield False
        return
    try:
        yield True
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def installed() -> list[str]:
    """UUIDs of all GPUs in NVML's order (by PCI bus), '' for one that does not answer: it fell off
    the bus. [] without a driver or a GPU."""
    with session() as usable:
        if not usable:
            return []
        count = _ask(pynvml.nvmlDeviceGetCount)
        return [_uuid_at(number) for number in range(count)]


def fault(uuid: str) -> str:
    """Why the memory of a GPU must not be used any more, '' if it may or its driver does not say:
    the driver replaces rows that fail, and could not replace this one."""
    try:
        with session():
            rows = pynvml.nvmlDeviceGetRemappedRows(pynvml.nvmlDeviceGetHandleByUUID(uuid))
    except pynvml.NVMLError:
        return ""
    return "NVML: rows of its memory fail and could not be replaced" if rows[3] else ""


def instances(uuid: str) -> list[str] | None:
    """UUIDs of the instances into which a GPU is divided (MIG); None for a GPU that is not divided.
    One that is divided into none cannot compute at all."""
    with session():
        handle = _ask(pynvml.nvmlDeviceGetHandleByUUID, uuid)
        try:
            divided = pynvml.nvmlDeviceGetMigMode(handle)[0] == pynvml.NVML_DEVICE_MIG_ENABLE
        except pynvml.NVMLError:  # a GPU, or a driver, that knows no instances
            return None
        return [_uuid_of(instance) for instance in _instances_of(handle)] if divided else None


def _instances_of(handle: Any) -> Iterator[Any]:
    # Numbers that no instance has are between those of others.
    for number in range(_ask(pynvml.nvmlDeviceGetMaxMigDeviceCount, handle)):
        try:
            yield pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
        except pynvml.NVMLError_NotFound:
            continue
        except pynvml.NVMLError as error:
            raise Unavailable(f"NVML: {error}") from error


def _uuid_at(number: int) -> str:
    try:
        return _uuid_of(_ask(pynvml.nvmlDeviceGetHandleByIndex, number))
    except Unavailable:
        return ""


def _uuid_of(handle: Any) -> str:
    return str(_ask(pynvml.nvmlDeviceGetUUID, handle))


def _memory(handle: Any) -> Any:
    try:
        return pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    except pynvml.NVMLError:  # drivers before 510
        try:
            return pynvml.nvmlDeviceGetMemoryInfo(handle)
        except pynvml.NVMLError as error:
            if error.value == pynvml.NVML_ERROR_NOT_SUPPORTED:
                raise NotReported("NVML: it reports no memory of this GPU") from error
            raise Unavailable(f"NVML: {error}") from error


def _ask(call: Callable[..., Answer], *arguments: Any) -> Answer:
    try:
        return call(*arguments)
    except pynvml.NVMLError as error:
        raise Unavailable(f"NVML: {error}") from error
