"""The way of weights from host memory to a GPU: pinned copies, and a copy stream of their own.

A plain copy from mapped pages is synchronous and blocks the device's work. A GPU reads pinned
memory by itself (`pinned.py`). Other memory goes through two small pinned buffers: the copy of one
chunk overlaps with the reading of the next.

All weights are allocated on the copy stream, by any loader thread: the allocator keeps a pool per
stream, so what an evicted model leaves serves the next one. It is not in the pool of the compute
stream, since a copy would have to wait for all that is queued there before it may write.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from worker.device.pinned import pieces

CHUNK_BYTES = 16 << 20


class Staging:
    """Two pinned buffers and a copy stream, for several loader threads, which share the buffers."""

    def __init__(self, device: torch.device, chunk_bytes: int = CHUNK_BYTES) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._lock = threading.Lock()
        self._buffers = [torch.empty(chunk_bytes, dtype=torch.uint8, pin_memory=True) for _ in "ab"]
        # Blocking: a thread that waits sleeps instead of polling.
        self._free = [torch.cuda.Event(blocking=True) for _ in "ab"]  # type: ignore[no-untyped-call]

    def loading(self) -> AbstractContextManager[object]:
        """The context in which a loader thread allocates weights by itself."""
        return torch.cuda.stream(self._stream)

    def copy(self, source: Tensor) -> Tensor:
        """A copy of the contiguous host tensor `source` on the device, complete on return."""
        return self.copy_all([source])[0]

    def copy_all(self, sources: Sequence[Tensor]) -> list[Tensor]:
        """Copies of contiguous host tensors, queued one behind the other; waits once, for all."""
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
            _copy_pinned(target, source)
            return target
        with self._lock:
            self._copy_bytes(_bytes_of(target), _bytes_of(source))
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


def _copy_pinned(target: Tensor, source: Tensor) -> None:
    parts = list(pieces(source.data_ptr(), source.nbytes))
    if len(parts) == 1:
        target.copy_(source, non_blocking=True)
        return
    to, whole = _bytes_of(target), _bytes_of(source)
    for start, count in parts:
        to[start : start + count].copy_(whole[start : start + count], non_blocking=True)


def _bytes_of(tensor: Tensor) -> Tensor:
    return tensor.view(-1).view(torch.uint8)
