"""Requests on their way into a worker: read from its work stream, decoded, queued by model.

The worker reads no more than it may hold at once, in requests and in bytes; the rest stays on the
stream, where other workers can take it over.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from shared import clock, failpoints, statuses
from shared.channel import Channel
from shared.connection import BLOCK_MS, redis_errors
from shared.errors import Unavailable, WarmrouteError
from shared.keys import Keys
from shared.shared_memory import SharedMemoryStore
from worker.membership import Membership
from worker.serving.batcher import Batcher
from worker.serving.completions import Completions, refusal
from worker.serving.inflight import InflightWindow, PutOff
from worker.serving.queued_request import decode, entry_order

log = logging.getLogger(__name__)

LOOK_S = 0.02  # while entries are put off: between two looks at what neighbours have on the stream
DRAINS_S = 0.25  # much longer than between two questions of a copy that drains
READ_ANYWAY_S = 1.0  # without a look: a count may be wrong


class Receiver:
    """Reads the work stream of this worker. `arrived` is set whenever requests were queued."""

    def __init__(
        self, channel: Channel, keys: Keys, membership: Membership, batcher: Batcher,
        inflight: InflightWindow, completions: Completions,
        shared_memory: SharedMemoryStore | None = None,
    ) -> None:  # fmt: skip
        self._channel = channel
        self._stream = keys.work(membership.worker)
        self._queued_on_stream = keys.queued(membership.worker)
        self._membership = membership
        self._batcher = batcher
        self._completions = completions
        self._shared_memory = shared_memory
        self.inflight = inflight
        self.arrived = asyncio.Event()
        self._last_read = b"0-0"  # of `_epoch`: another may begin with smaller ids
        self._epoch = ""
        self._empty_at = 0.0  # start of the last read that found nothing
        self._position = b"0-0"  # own pending entries first, then new ones (">")
        self._read_at = 0.0  # the last read of the stream
        self._drains_until = 0.0  # some copy waits until this has caught up

    async def receive_once(self) -> int:
        """Read and queue what was placed on this worker; the number of entries read."""
        if self.inflight.put_off:
            return await self._receive_beside_put_off()
        return await self._read(await self.inflight.wait_for_capacity())

    async def _receive_beside_put_off(self) -> int:
        again = await self._read_again(self.inflight.due())
        count = self.inflight.capacity()
        if count and await self._reads_past_what_is_put_off():
            return again + await self._read(count)
        if not again:
            await self.inflight.wait_for_release(LOOK_S)
        return again

    async def _read(self, count: int) -> int:
        """The next entries of the stream; while some are put off it is not waited for more."""
        started = clock.monotonic()
        position, self._position = self._position, b"0-0"
        epoch = self._membership.epoch
        block = () if self.inflight.put_off else ("BLOCK", BLOCK_MS)
        with redis_errors():
            streams = await self._channel.execute_command(
                "XREADGROUP", "GROUP", epoch, self._membership.worker,
                "COUNT", count, *block, "STREAMS", self._stream, position,
            )  # fmt: skip
        entries = streams[0][1] if streams else []
        self._position, self._read_at = self._next_position(position, entries), started
        if epoch != self._epoch:
            self._epoch, self._last_read = epoch, b"0-0"
        if self._add(entries):
            # What is in flight under that id is lost. In a new epoch all else is placed again too.
            log.warning("an entry id has come back: Redis has lost entries of this worker")
            await self._membership.handle_answer(statuses.FENCED, epoch)
        if not entries and position == b">":
            self._empty_at = started
        return len(entries)

    async def _reads_past_what_is_put_off(self) -> bool:
        """Whether a neighbour has entries on the stream that were not read, or a copy that drains
        may: else nothing is read there only to be put off as well."""
        now = clock.monotonic()
        if now < self._drains_until or now - self._read_at > READ_ANYWAY_S:
            return True
        with redis_errors():
            flat = await self._channel.execute_command("HGETALL", self._queued_on_stream)
        return self.inflight.lacks(dict(zip(flat[::2], map(int, flat[1::2]), strict=True)))

    async def _read_again(self, due: list[PutOff]) -> int:
        """Queue entries that were put off; those that are gone were cancelled, or moved."""
        ask = self._channel.execute_command
        with redis_errors():
            found: list[Any] = await asyncio.gather(
                *(ask("XRANGE", self._stream, one.entry, one.entry) for one in due)
            )
        for one, entries in zip(due, found, strict=True):
            self.inflight.forget_put_off(one)
            self._batcher.read_again(one.model.decode())
            for entry, flat in entries:
                self._take(entry, flat, one.size, one.model)
        if due:
            self.arrived.set()
        return len(due)

    def caught_up(self, last: bytes, since: float) -> bool:
        """Whether every entry up to `last` has been read. `since`: the moment (`clock.monotonic`)
        from which on nothing after `last` was placed; a later read that found nothing shows it."""
        read = self._last_read if self._epoch == self._membership.epoch else b"0-0"
        if entry_order(read) >= entry_order(last) or self._empty_at > since:
            return True
        self._drains_until = clock.monotonic() + DRAINS_S
        return False

    @staticmethod
    def _next_position(position: bytes, entries: list[tuple[bytes, list[bytes]]]) -> bytes:
        if position == b">" or not entries:
            return b">"
        return entries[-1][0]

    def _add(self, entries: list[tuple[bytes, list[bytes] | None]]) -> bool:
        """Queue entries. Whether the id of one is in flight for another request."""
        if not entries:
            return False
        came_back = False
        for entry, flat in entries:
            # An entry without fields was deleted since; one that is known is read again after an
            # error.
            if flat and not self.inflight.knows(entry):
                self._admit(entry, flat)
            elif flat:
                came_back |= self.inflight.is_of_another(entry, _request_of(flat))
            failpoints.reach_now("receive.after")
        self._last_read = max(self._last_read, entries[-1][0], key=entry_order)
        self.arrived.set()
        return came_back

    def _admit(self, entry: bytes, flat: list[bytes]) -> None:
        size, model = len(flat[-1]), _model_of(flat)
        if self.inflight.admits(size, model) or not self._batcher.put_off(model.decode()):
            self._take(entry, flat, size, model)
        else:
            self.inflight.put_off_until_free(entry, size, model)

    def _take(self, entry: bytes, flat: list[bytes], size: int, model: bytes) -> None:
        self.inflight.add(entry, size, model, _request_of(flat))
        self._queue(entry, flat)

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


def _request_of(flat: list[bytes]) -> bytes:
    """The request id in an entry as `place` writes it."""
    return flat[1]


def _model_of(flat: list[bytes]) -> bytes:
    """The ref in an entry as `place` writes it, b"" in any other."""
    return flat[3] if len(flat) > 3 and flat[2] == b"model" else b""
