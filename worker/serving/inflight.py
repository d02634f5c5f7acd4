"""The requests that a worker has in flight: how many it reads, and how many bytes of which model.

A stream is read in its order, so a worker with several models reads past the flood of one, to the
requests of its neighbours. In number: of each model only the first entries count, a `SHARES`th of
the window; `place` bounds what one model can have on the stream. In bytes: one model may use what
is free but a reserve. What it may not have in flight yet is put off: the entry stays on the stream
until it is answered, so it is forgotten but for its id, and read again when bytes are free.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple

READ_COUNT = 64
READ_BYTES = 16 << 20  # of entries that are read again at a time
MAX_BYTES = 256 << 20
MOST_TIMES = 32  # the entries of the window, where one model's flood is read past
SHARES = 16  # of the window: so much of it any model may have beside the floods of others
RESERVES = 4  # of the bytes of the window: so much is left by floods


class PutOff(NamedTuple):
    """An entry that is to be read again."""

    entry: bytes
    size: int
    model: bytes


class InflightWindow:
    """Entries that were read and not answered yet: at most `max_entries` of them, and `max_bytes`.

    The size of an entry is known only after it was read, so the next entries are assumed to be as
    large as the last one. `max_bytes` can be exceeded by one entry, and where one model alone is
    served by one read; at the limit nothing is read. So a very large entry is in flight alone.
    """

    def __init__(
        self, max_entries: int, max_bytes: int = MAX_BYTES, models: Callable[[], int] = lambda: 1
    ) -> None:
        """`models()`: how many models the worker serves."""
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._for_all = max_bytes - max_bytes // RESERVES  # the rest is for small shares
        self._models = models
        self._share = max(1, max_entries // SHARES)
        self._by_model: Counter[bytes] = Counter()
        self._counted = 0  # of each model no more than its share
        self._sizes: dict[bytes, tuple[int, bytes, bytes]] = {}
        self._bytes_of: Counter[bytes] = Counter()
        self._put_off: dict[bytes, deque[PutOff]] = {}  # by model, the oldest first
        self._later: set[bytes] = set()  # their entries
        self._last_size = 1
        self._released = asyncio.Event()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._sizes)

    @property
    def put_off(self) -> int:
        """How many entries are to be read again."""
        return len(self._later)

    async def wait_for_capacity(self) -> int:
        """Wait until an entry may be read; the number of entries to read, at least one."""
        while not (count := self.capacity()):
            self._released.clear()
            await self._released.wait()
        return count

    def capacity(self) -> int:
        """The number of entries that may be read now."""
        left = self._left()
        if left <= 0 or self.bytes >= self._max_bytes:
            return 0
        free = self._max_bytes - self.bytes
        if self._put_off:  # most of it is only read past
            free = max(free, self._max_bytes // SHARES)
        return min(READ_COUNT, left, free // self._last_size or 1)

    async def wait_for_release(self, longest_s: float) -> None:
        """Wait until an entry was answered, `longest_s` seconds at most."""
        self._released.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await self._released.wait()

    def _left(self) -> int:
        """How many more entries may be read, as far as their number goes."""
        left = self._max_entries - self.put_off - len(self._sizes)
        if left > 0 or self._models() < 2 or self._counted >= self._max_entries:
            return left
        return left + (MOST_TIMES - 1) * self._max_entries

    def knows(self, entry: bytes) -> bool:
        """Whether an entry is in flight, or put off: after an error it is read once more."""
        return entry in self._sizes or entry in self._later

    def is_of_another(self, entry: bytes, request: bytes) -> bool:
        """Whether an entry in flight is that of another request than this one."""
        return entry in self._sizes and self._sizes[entry][2] != request

    def admits(self, size: int, model: bytes) -> bool:
        """Whether an entry that was just read may be in flight now. It waits for those of its model
        that were read before it."""
        if not self._put_off and self.bytes + size <= self._for_all:  # as nearly always
            return True
        return model not in self._put_off and (self._models() < 2 or self._fits(size, model))

    def _fits(self, size: int, model: bytes, more: int = 0, own: int = 0) -> bool:
        """`more`: bytes that are about to come in, `own` of them of this model."""
        total, own = self.bytes + more, self._bytes_of[model] + own
        if total >= self._max_bytes:
            return False
        if own == 0 or self._models() < 2:  # however large it is: else it might never be its turn
            return True
        if own + size <= self._max_bytes // SHARES:
            return total + size <= self._max_bytes
        return total + size <= self._for_all

    def add(self, entry: bytes, size: int, model: bytes = b"", request: bytes = b"") -> None:
        """Count an entry of `size` bytes, of a request."""
        self._sizes[entry] = size, model, request
        self._by_model[model] = number = self._by_model[model] + 1
        self._counted += number <= self._share
        self._last_size = size or 1
        self._bytes_of[model] += size
        self.bytes += size

    def put_off_until_free(self, entry: bytes, size: int, model: bytes) -> None:
        """Note an entry that is to be read again."""
        self._put_off.setdefault(model, deque()).append(PutOff(entry, size, model))
        self._later.add(entry)
        self._note(model)
        self._last_size = size or 1

    def due(self) -> list[PutOff]:
        """What may be in flight by now, of each model the oldest in turn; of so many bytes as one
        read may bring. Nothing is changed."""
        found: list[PutOff] = []
        own, more = Counter[bytes](), 0
        heads = deque(iter(waiting) for waiting in self._put_off.values())
        while heads and len(found) < READ_COUNT and more < READ_BYTES:
            head = heads.popleft()
            one = next(head, None)
            if one is None or not self._fits(one.size, one.model, more, own[one.model]):
                continue
            found.append(one)
            own[one.model] += one.size
            more += one.size
            heads.append(head)
        return found

    def forget_put_off(self, one: PutOff) -> None:
        """Forget the oldest entry of its model that was put off: it was read again, or is gone."""
        waiting = self._put_off[one.model]
        assert waiting.popleft() is one, "this is a bug: entries are read again out of their order"
        if not waiting:
            del self._put_off[one.model]
        self._later.discard(one.entry)
        self._forget(one.model)

    def lacks(self, queued: Mapping[bytes, int]) -> bool:
        """Whether the stream has entries that were not read, of a model of which none is put off.
        `queued`: how many entries of each model it has."""
        return any(
            number > self._by_model[model] and model not in self._put_off
            for model, number in queued.items()
        )

    def release(self, entries: Iterable[bytes]) -> None:
        """Remove entries that were answered, or that belong to another worker now."""
        for entry in entries:
            if entry not in self._sizes:
                continue
            size, model, _ = self._sizes.pop(entry)
            self.bytes -= size
            self._bytes_of[model] -= size
            self._forget(model)
        self._released.set()

    def _note(self, model: bytes) -> None:
        self._by_model[model] += 1
        self._counted += self._by_model[model] <= self._share

    def _forget(self, model: bytes) -> None:
        number = self._by_model[model]
        self._counted -= number <= self._share
        if number > 1:
            self._by_model[model] = number - 1
        else:
            del self._by_model[model]
            self._bytes_of.pop(model, None)
