"""Weights from host memory to a GPU, on a copy stream of their own.

A plain copy from mapped pages is synchronous and blocks the device's work. Pinned memory the GPU
reads by itself. What is not pinned goes through two small pinned buffers: the copy of one chunk
overlaps with the reading of the next.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import torch
from torch import Tensor

CHUNK_BYTES = 16 << 20


class Staging:
    """Two pinned buffers and a copy stream. Loader threads take turns at the buffers only."""

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
        # Blocking: the thread sleeps instead of keeping a processor busy with asking.
        done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            try:
                return [self._queue(source) for source in sources]
            finally:
                # After a failure too: what was queued must not read memory that is given back.
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
