"""Host memory that the GPU reads by itself: registered with the driver, exactly of its size.

torch's own pinned allocator rounds each size up to a power of two and never gives memory back, so
the use of a host budget could not be known. Here ordinary memory is registered with the driver, and
unregistered before it goes back to the system.

A registration holds a lock that launches of kernels need, so large memory is registered piece by
piece. A copy must not cross two registrations (the driver refuses it), so pieces end where an
address is a multiple of PIECE_BYTES, which a copy can see from its addresses alone.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Protocol

import torch
from torch import Tensor

from worker.device.base import DeviceOutOfMemory

PIECE_BYTES = 256 << 20


class Registrar(Protocol):
    """Two calls of CUDA's runtime. Both return 0 on success."""

    def register(self, address: int, size: int) -> int: ...

    def unregister(self, address: int) -> int: ...


class CudaRegistrar:
    """CUDA's runtime, through torch, for one device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._runtime: Any = torch.cuda.cudart()  # type: ignore[no-untyped-call]

    def register(self, address: int, size: int) -> int:
        """cudaHostRegister; the interpreter runs on meanwhile."""
        with torch.cuda.device(self._device):
            status = int(self._runtime.cudaHostRegister(address, size, 0))
            if status:
                forget_error(self._device)
            return status

    def unregister(self, address: int) -> int:
        """cudaHostUnregister."""
        with torch.cuda.device(self._device):
            return int(self._runtime.cudaHostUnregister(address))


def forget_error(device: torch.device) -> None:
    """CUDA keeps an error per thread, and reports it with the thread's next kernel: this one."""
    with suppress(RuntimeError):
        torch.zeros(1, device=device)


class _Memory(mmap.mmap):
    """Anonymous memory that undoes its registration when the last tensor over it is deleted.

    `__del__`, as the callback of a weak reference would run only after the memory was unmapped."""

    undo: Callable[[], object] | None = None

    def __del__(self) -> None:
        if self.undo is not None:
            self.undo()


def pieces(address: int, size: int, most: int = PIECE_BYTES) -> Iterator[tuple[int, int]]:
    """Offset and bytes of the pieces of the memory at `address`: none contains a multiple of `most`
    but as its first address."""
    start = 0
    while start < size:
        count = min(size - start, most - (address + start) % most)
        yield start, count
        start += count


def pinned_copy(content: Tensor, registrar: Registrar) -> Tensor:
    """A pinned copy of `content`, uint8 [size], from host memory; DeviceOutOfMemory."""
    size = content.numel()
    if not size:
        return torch.empty(0, dtype=torch.uint8)
    try:
        memory = _Memory(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise DeviceOutOfMemory(f"the host has no {size} bytes left to keep weights in") from error
    copy = torch.frombuffer(memory, dtype=torch.uint8)
    address, registered = copy.data_ptr(), list[int]()
    memory.undo = lambda: [registrar.unregister(piece) for piece in registered]
    for start, count in pieces(address, size):
        copy[start : start + count].copy_(content[start : start + count])
        if status := registrar.register(address + start, count):
            raise DeviceOutOfMemory(
                f"CUDA error {status}: {size} bytes of the host cannot be pinned"
            )
        registered.append(address + start)
    return copy
