"""The partial file of a blob, which is hashed while its bytes are still arriving."""

from __future__ import annotations

import asyncio
import hashlib
import os
from concurrent.futures import Executor

from shared.repository.disk import disk_errors, hash_range, write_all
from worker.weight_cache.loop_thread import run_in

# Waking a thread for less costs more than the overlap gains.
HASH_STEP_BYTES = 2 << 20
_CACHE_FILE = "blob cache"


class Landing:
    """Accepts chunks in any order, and hashes them from the first to the last. Used on one event
    loop. Allocates its disk blocks at once, so that a full disk shows before a download."""

    def __init__(self, fd: int, size: int, pool: Executor) -> None:
        self._fd = fd
        self._size = size
        self._pool = pool
        self._ends: dict[int, int] = {}  # start -> end of chunks beyond the first gap
        self._contiguous = 0
        self._hashed = 0
        self._enough = asyncio.Event()
        if size:
            with disk_errors(_CACHE_FILE):
                os.posix_fallocate(fd, 0, size)

    def write(self, data: bytes, offset: int) -> None:
        """Write one chunk; DiskFull or RepositoryError if the disk refuses it."""
        with disk_errors(_CACHE_FILE):
            write_all(self._fd, data, offset)
        self._ends[offset] = offset + len(data)
        while (end := self._ends.pop(self._contiguous, None)) is not None:
            self._contiguous = end
        if self._is_enough():
            self._enough.set()

    async def sha256(self) -> str:
        """The hex digest, once all bytes have arrived; hashes them as they do."""
        hasher = hashlib.sha256()
        while self._hashed < self._size:
            if not self._is_enough():
                self._enough.clear()
                await self._enough.wait()
            with disk_errors(_CACHE_FILE):
                await run_in(self._pool, self._catch_up, hasher)
        return hasher.hexdigest()

    def _catch_up(self, hasher: hashlib._Hash) -> None:
        """On a thread: hash what has arrived, and what arrives meanwhile, to save another
        switch."""
        while self._hashed < (end := self._contiguous):
            hash_range(hasher, self._fd, self._hashed, end)
            self._hashed = end

    def _is_enough(self) -> bool:
        ready = self._contiguous - self._hashed
        return ready >= HASH_STEP_BYTES or self._contiguous == self._size
