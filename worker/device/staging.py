"""The way of weights from host memory to a GPU: pinned copies, and a copy stream of their own.

A plain copy from mapped pages is synchronous and blocks the device's work. A GPU reads pinned
memory by itself. Other memory goes through two small pinned buffers: the copy of one chunk overlaps
with the reading of the next.

torch's own pinned allocator rounds each size up to a power of two and never gives memory back, so
the use of a host budget could not be known. Here ordinary memory is registered with the driver, and
unregistered before it goes back to the system.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

import torch
from torch import Tensor

from worker.device.base import DeviceOutOfMemory

CHUNK_BYTES = 16 << 20


class Staging:
    """Two pinned buffers and a copy stream, for several loader threads, which share the buffers."""

    def __init__(self, device: torch.device, chunk_bytes: int = CHUNK_BYTES) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._lock = threading.Lock()
        self._buffers = [torch.empty(chunk_bytes, dtype=torch.uint8, pin_memory=True) for _ in "ab"]
        self._free = [torch.cuda.Event() for _ in "ab"]  # type: ignore[no-untyped-call]

    def copy(self, source: Tensor) -> Tensor:
        """A copy of the contiguous host tensor `source` on the device, complete on return."""
        return self.copy_all([source])[0]

    def copy_all(self, sources: Sequence[Tensor]) -> list[Tensor]:
        """Copies of contiguous host tensors, queued one behind the other; waits once, for all."""
        # Blocking: the thread sleeps instead of polling.
        done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            try:
                return [self._queue(source) for source in sources]
            finally:
                # After a failure too: queued copies must not read memory that is given back.
                done.record(self._stream)
                done.synchronize()

    def _queue(self, source: Tensor) -> Tensor:
        target = torch.empty(source.shape, dtype=source.dtype, device=self._device)
        if not source.numel():
            return target
        if source.is_pinned():
            return target.copy_(source, non_blocking=True)
        with self._lock:
            self._copy_bytes(target.view(-1).view(torch.uint8), source.view(-1).view(torch.uint8))
        return target

    def _copy_bytes(self, target: Tensor, source: Tensor) -> None:
        size = self._buffers[0].numel()
        for turn, start in enumerate(range(0, source.numel(), size)):
            buffer, free = self._buffers[turn % 2], self._free[turn % 2]
            free.synchronize()  # the copy that last read this buffer is done
            count = min(size, source.numel() - start)
            buffer[:count].copy_(source[start : start + count])
            target[start : start + count].copy_(buffer[:count], non_blocking=True)
            free.record(self._stream)


class Registrar(Protocol):
    """Two calls of CUDA's runtime. Both return 0 on success."""

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
        # CUDA keeps an error per thread, and reports it with the thread's next kernel.
        with suppress(RuntimeError):
            torch.zeros(1, device=self._device)


class _Memory(mmap.mmap):
    """Anonymous memory that undoes its registration when the last tensor over it is deleted.

    `__del__`, as the callback of a weak reference would run only after the memory was unmapped."""

    undo: Callable[[], object] | None = None

    def __del__(self) -> None:
        if self.undo is not None:
            self.undo()


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
    copy.copy_(content)
    address = copy.data_ptr()
    if status := registrar.register(address, size):
        raise DeviceOutOfMemory(f"CUDA error {status}: {size} bytes of the host cannot be pinned")
    memory.undo = lambda: registrar.unregister(address)
    return copy
