"""Weights kept in host memory, by the hash of their blob: a model is loaded again without files.

The bytes of the whole file are kept. For a GPU they are pinned, so that they reach the device in
one copy that blocks no other work; for a CPU they are the file's mapping, which outlives the file's
name.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor


def map_bytes(path: Path, size: int) -> Tensor:
    """A private mapping of the first `size` bytes of a file, as uint8 [size]."""
    return torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)


class HostStore:
    """Blobs in host memory, for several loader threads. `host` makes the copy that is kept."""

    def __init__(self, host: Callable[[Tensor], Tensor]) -> None:
        self._host = host
        self._blobs: dict[str, Tensor] = {}
        self._making: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    @property
    def bytes(self) -> int:
        """Bytes of all blobs kept."""
        return sum(blob.numel() for blob in list(self._blobs.values()))

    def __contains__(self, sha256: str) -> bool:
        return sha256 in self._blobs

    def keep(self, sha256: str, path: Path) -> None:
        """Read a blob into host memory unless it is kept already. Blocks. OSError or RuntimeError
        if the file cannot be read, DeviceOutOfMemory if memory is missing."""
        with self._lock:
            making = self._making.setdefault(sha256, threading.Lock())
        with making:
            if sha256 not in self._blobs:
                size = path.stat().st_size
                content = map_bytes(path, size) if size else torch.empty(0, dtype=torch.uint8)
                self._blobs[sha256] = self._host(content)
            with self._lock:
                self._making.pop(sha256, None)

    def get(self, sha256: str) -> Tensor | None:
        """The blob's bytes (uint8 [size]), which stay for as long as they are referred to."""
        return self._blobs.get(sha256)

    def drop(self, sha256: str) -> Tensor | None:
        """Keep a blob no longer, and return it: freeing pinned memory takes a while, so the caller
        chooses the thread that does it."""
        return self._blobs.pop(sha256, None)
