"""Requests on their way into a worker: read from its work stream, decoded, queued by model.

The worker reads no more than it may hold at once, in requests and in bytes; the rest stays on the
stream, where other workers can take it over.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable

from shared import clock, failpoints
from shared.channel import Channel
from shared.connection import BLOCK_MS, redis_errors
from shared.errors import Unavailable, WarmrouteError
from shared.keys import Keys
from shared.shared_memory import SharedMemoryStore
from worker.membership import Membership
from worker.serving.batcher import Batcher
from worker.serving.completions import Completions, refusal
from worker.serving.queued_request import decode, entry_order

log = logging.getLogger(__name__)

READ_COUNT = 64
MAX_BYTES = 256 << 20
MOST_TIMES = 32  # the entries of the window, where one model's flood is read past
SHARES = 16


class InflightWindow:
    """Entries that were read and not answered yet: at most `max_entries` of them.

    A stream is read in its order, so a worker with several models reads past the flood of one, to
    the requests of its neighbours: of each model only the first entries count, a `SHARES`th of the
    window. `place` bounds what one model can have on the stream.

    The size of an entry is known only after it was read, so the next entries are assumed to be as
    large as the last one: one read of larger entries can exceed `max_bytes`. At the limit nothing
    is read; an entry larger than the limit is read alone.
    """

    def __init__(
        self, max_entries: int, max_bytes: int = MAX_BYTES, models: Callable[[], int] = lambda: 1
    ) -> None:
        """`models()`: how many models the worker serves."""
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._models = models
        self._share = max(1, max_entries // SHARES)
        self._by_model: Counter[bytes] = Counter()
        self._counted = 0  # of each model no more than its share
        self._sizes: dict[bytes, tuple[int, bytes]] = {}
        self._last_size = 1
        self._released = asyncio.Event()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._sizes)

    async def wait_for_capacity(self) -> int:
        """Wait until an entry may be read; the number of entries to read, at least one."""
        while (left := self._left()) <= 0 or self.bytes >= self._max_bytes:
            self._released.clear()
            await self._released.wait()
        by_bytes = (self._max_bytes - self.bytes) // self._last_size or 1
        return min(READ_COUNT, left, by_bytes)

    def _left(self) -> int:
        """How many more entries may be read, as far as their number goes."""
        left = self._max_entries - len(self._sizes)
        if left > 0 or self._models() < 2 or self._counted >= self._max_entries:
            return left
        return left + (MOST_TIMES - 1) * self._max_entries

    def add(self, entry: bytes, size: int, model: bytes = b"") -> bool:
        """Count an entry of `size` bytes; False if it is in the window already."""
        if entry in self._sizes:
            return False
        self._sizes[entry] = size, model
        self._by_model[model] += 1
        self._counted += self._by_model[model] <= self._share
        self._last_size = size or 1
        self.bytes += size
        return True

    def release(self, entries: Iterable[bytes]) -> None:
        """Remove entries that were answered, or that belong to another worker now."""
        for entry in entries:
            if entry not in self._sizes:
                continue
            size, model = self._sizes.pop(entry)
            self.bytes -= size
            self._counted -= self._by_model[model] <= self._share
            self._by_model[model] -= 1
            if not self._by_model[model]:
                del self._by_model[model]
        self._released.set()


class Receiver:
    """Reads the work stream of this worker. `arrived` is set whenever requests were queued."""

    def __init__(
        self, channel: Channel, keys: Keys, membership: Membership, batcher: Batcher,
        inflight: InflightWindow, completions: Completions,
        shared_memory: SharedMemoryStore | None = None,
    ) -> None:  # fmt: skip
        self._channel = channel
        self._stream = keys.work(membership.worker)
        self._membership = membership
        self._batcher = batcher
        self._completions = completions
        self._shared_memory = shared_memory
        self.inflight = inflight
        self.arrived = asyncio.Event()
        self._last_read = b"0-0"
        self._empty_at = 0.0  # start of the last read that found nothing
        self._position = b"0-0"  # own pending entries first, then new ones (">")

    async def receive_once(self) -> int:
        """Read and queue what was placed on this worker; the number of entries read."""
        count = await self.inflight.wait_for_capacity()
        started = clock.monotonic()
        position, self._position = self._position, b"0-0"
        with redis_errors():
            streams = await self._channel.execute_command(
                "XREADGROUP", "GROUP", self._membership.epoch, self._membership.worker,
                "COUNT", count, "BLOCK", BLOCK_MS, "STREAMS", self._stream, position,
            )  # fmt: skip
        entries = streams[0][1] if streams else []
        self._position = self._next_position(position, entries)
        self._add(entries)
        if not entries and position == b">":
            self._empty_at = started
        return len(entries)

    def caught_up(self, last: bytes, since: float) -> bool:
        """Whether every entry up to `last` has been read. `since`: the moment (`clock.monotonic`)
        from which on nothing after `last` was placed; a later read that found nothing shows it."""
        return entry_order(self._last_read) >= entry_order(last) or self._empty_at > since

    @staticmethod
    def _next_position(position: bytes, entries: list[tuple[bytes, list[bytes]]]) -> bytes:
        if position == b">" or not entries:
            return b">"
        return entries[-1][0]

    def _add(self, entries: list[tuple[bytes, list[bytes] | None]]) -> None:
        if not entries:
            return
        for entry, flat in entries:
            # An entry without fields was deleted since; one in the window is read again after an
            # error.
            if flat and self.inflight.add(entry, len(flat[-1]), _model_of(flat)):
                self._queue(entry, flat)
            failpoints.reach_now("receive.after")
        self._last_read = max(self._last_read, entries[-1][0], key=entry_order)
        self.arrived.set()

    def _queue(self, entry: bytes, flat: list[bytes]) -> None:
        try:
            request = decode(entry, flat, self._shared_memory)
        except WarmrouteError as error:
            log.error("entry %s cannot be read: %s", entry, error)
            self._completions.add([refusal(entry, flat, error)])
            return
        if not self._batcher.put(request):
            lost = Unavailable("this worker does not hold the model any more")
            self._completions.finish([request], [lost])


def _model_of(flat: list[bytes]) -> bytes:
    """The ref in an entry as `place` writes it, b"" in any other."""
    return flat[3] if len(flat) > 3 and flat[2] == b"model" else b""
