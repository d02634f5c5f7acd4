"""What a runtime may ask of a device, and the error a full one raises."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import torch
from torch import Tensor

from shared.errors import WarmrouteError
from worker.device.sharing import SharedObjects


class DeviceOutOfMemory(WarmrouteError):
    """An allocation on the device failed. After an eviction the same call may succeed."""

    code = "device_out_of_memory"
    retryable = True


class Device(Protocol):
    """One device of one worker.

    `upload`, `download` and `computing` belong to the device thread. `place` is called by loader
    threads while the device thread runs, and must not disturb it.
    """

    name: str  # "cpu", "cuda:0"
    kind: str  # "cpu", "cuda"
    torch_device: torch.device
    shared: SharedObjects  # what models on this device have in common

    def memory_total(self) -> int:
        """Bytes of memory that the device has (for a CPU: what this process may use)."""

    def memory_used(self) -> int:
        """Bytes in use now: on a GPU by all processes, on a CPU resident in this process."""

    def place(self, tensor: Tensor) -> Tensor:
        """A weight from host memory, ready for use on the device; DeviceOutOfMemory."""

    def upload(self, tensor: Tensor) -> Tensor:
        """An input from host memory, on the device for work queued after this call."""

    def download(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Outputs in host memory, complete when this returns."""

    def computing(self) -> AbstractContextManager[object]:
        """Holds for the block in which the device thread queues work."""

    def synchronise(self) -> None:
        """Wait until all queued work is done."""

    def trim(self) -> None:
        """Give memory that allocators hold back, but nobody uses, to the system."""


def out_of_memory(error: BaseException) -> DeviceOutOfMemory | None:
    """The translation of an allocation failure of torch's, or None if `error` is something else.

    CUDA has an exception type for it; the CPU allocator raises a plain RuntimeError.
    """
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return DeviceOutOfMemory("the device has no memory left for this")
    if isinstance(error, RuntimeError) and "can't allocate memory" in str(error):
        return DeviceOutOfMemory("the host has no memory left for this")
    return None
