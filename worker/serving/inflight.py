"""What a worker has taken in and not yet answered: bounded in requests and in bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

READ_COUNT = 64
MAX_BYTES = 256 << 20


class InflightWindow:
    """Entries of the work stream, at most `most` of them.

    How large the next entries are shows only when they are here, so they are taken to be as large
    as the last one: the bound in bytes can be exceeded by one read, of entries larger than those
    before. When it is reached no more is read, but for a lone entry.
    """

    def __init__(self, most: int, max_bytes: int = MAX_BYTES) -> None:
        self._most = most
        self._max_bytes = max_bytes
        self._sizes: dict[bytes, int] = {}
        self._last = 1  # bytes of the last entry
        self._settled = asyncio.Event()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._sizes)

    async def room(self) -> int:
        """Wait until there is room; the number of entries to read, at least one."""
        while len(self._sizes) >= self._most or self.bytes >= self._max_bytes:
            self._settled.clear()
            await self._settled.wait()
        by_bytes = (self._max_bytes - self.bytes) // self._last or 1
        return min(READ_COUNT, self._most - len(self._sizes), by_bytes)

    def take(self, entry: bytes, size: int) -> bool:
        """It was read, with `size` bytes; False if it is in hand already."""
        if entry in self._sizes:
            return False
        self._sizes[entry] = size
        self._last = size or 1
        self.bytes += size
        return True

    def settle(self, entries: Iterable[bytes]) -> None:
        """These are answered, or not ours any more."""
        for entry in entries:
            self.bytes -= self._sizes.pop(entry, 0)
        self._settled.set()
