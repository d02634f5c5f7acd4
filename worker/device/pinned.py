"""Host memory that a GPU can copy from by itself, of exactly the size that is asked for.

torch's own pinned allocator rounds each size up to a power of two and never gives memory back, so
nobody could say what a host budget holds. Here ordinary memory is registered with the driver, and
unregistered before the system has it back.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

import torch
from torch import Tensor

from worker.device.base import DeviceOutOfMemory


class Registrar(Protocol):
    """The two calls of CUDA's runtime that are needed. Both return 0 when they have worked."""

    def register(self, address: int, size: int) -> int: ...

    def unregister(self, address: int) -> int: ...


class CudaRegistrar:
    """CUDA's runtime, through torch, for one device: no context is made on any other."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._runtime: Any = torch.cuda.cudart()  # type: ignore[no-untyped-call]

    def register(self, address: int, size: int) -> int:
        """cudaHostRegister; the interpreter runs on meanwhile."""
        with torch.cuda.device(self._device):
            status = int(self._runtime.cudaHostRegister(address, size, 0))
            if status:
                self._forget_error()
            return status

    def unregister(self, address: int) -> int:
        """cudaHostUnregister."""
        with torch.cuda.device(self._device):
            return int(self._runtime.cudaHostUnregister(address))

    def _forget_error(self) -> None:
        # CUDA remembers an error per thread, and the thread's next kernel would be blamed for it.
        with suppress(RuntimeError):
            torch.zeros(1, device=self._device)


class _Memory(mmap.mmap):
    """Anonymous memory that undoes its registration when the last tensor over it has gone.

    `__del__` and no weak reference: those are told of a mapping only after it was unmapped."""

    undo: Callable[[], object] | None = None

    def __del__(self) -> None:
        if self.undo is not None:
            self.undo()


def pinned_copy(content: Tensor, registrar: Registrar) -> Tensor:
    """A pinned copy of uint8 [size] from host memory; DeviceOutOfMemory if that cannot be had."""
    size = content.numel()
    if not size:
        return torch.empty(0, dtype=torch.uint8)
    try:
        memory = _Memory(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise DeviceOutOfMemory(f"the host has no {size} bytes left to keep weights in") from error
    copy = torch.frombuffer(memory, dtype=torch.uint8)
    copy.copy_(content)
    address = copy.data_ptr()
    if status := registrar.register(address, size):
        raise DeviceOutOfMemory(f"CUDA error {status}: {size} bytes of the host cannot be pinned")
    memory.undo = lambda: registrar.unregister(address)
    return copy
