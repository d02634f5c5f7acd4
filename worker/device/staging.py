"""Weights from host memory to a GPU through two small pinned buffers.

A plain copy from mapped pages is synchronous and blocks the device's work. Through pinned memory
the copy of one chunk overlaps with the reading of the next, on a stream of its own.
"""

from __future__ import annotations

import threading

import torch
from torch import Tensor

CHUNK_BYTES = 16 << 20


class Staging:
    """Two pinned buffers and a copy stream. Loader threads take turns."""

    def __init__(self, device: torch.device, chunk_bytes: int = CHUNK_BYTES) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._lock = threading.Lock()
        self._buffers = [torch.empty(chunk_bytes, dtype=torch.uint8, pin_memory=True) for _ in "ab"]
        self._free = [torch.cuda.Event() for _ in "ab"]  # type: ignore[no-untyped-call]

    def copy(self, source: Tensor) -> Tensor:
        """A copy of the contiguous host tensor `source` on the device, complete on return."""
        with self._lock, torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            target = torch.empty(source.shape, dtype=source.dtype, device=self._device)
            if source.numel():
                self._copy_bytes(
                    target.view(-1).view(torch.uint8), source.view(-1).view(torch.uint8)
                )
            self._stream.synchronize()
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
