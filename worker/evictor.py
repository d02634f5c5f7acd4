"""Making room: retire, drain, free. A copy is never freed while a request placed on it remains."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from shared import clock, failpoints
from shared.retry import until_answered
from worker.copies import Copy
from worker.eviction import Refusal, Resident, plan
from worker.ledger import Footprint
from worker.parts import Parts

log = logging.getLogger(__name__)

POLL_S = 0.005


class Evictor:
    """Frees copies so that a newcomer fits, one newcomer at a time."""

    def __init__(self, parts: Parts, caught_up: Callable[[bytes, float], bool]) -> None:
        self._scripts = parts.scripts
        self._membership = parts.membership
        self._copies = parts.copies
        self._batcher = parts.batcher
        self._device = parts.thread
        self._ledger = parts.ledger
        self._caught_up = caught_up
        self._turn = asyncio.Lock()

    def residents(self) -> list[Resident]:
        """The copies that may be evicted."""
        return [
            Resident(copy.ref, copy.last_used, self._busy(copy))
            for copy in self._copies.all()
            if not copy.retiring
        ]

    def could_make_room(self) -> bool:
        """Whether a further load can be planned at all: something is free or can be freed."""
        return self._ledger.used < self._ledger.budget or bool(self.residents())

    def has_room(self, footprint: Footprint) -> bool:
        """Whether it fits beside all that is here."""
        return self._ledger.used_with(footprint) <= self._ledger.budget

    async def make_room(self, ref: str, footprint: Footprint) -> bool:
        """Evict what the plan says and reserve the bytes; False if the model can never fit."""
        while True:
            async with self._turn:
                made = await self._try_to_make_room(ref, footprint)
            if made is not None:
                return made
            # Others are loading or draining: they end, and may need a turn for that.
            await asyncio.sleep(POLL_S)

    async def take_free_room(self, ref: str, footprint: Footprint) -> bool:
        """Reserve the bytes if they are free; nobody is evicted."""
        async with self._turn:
            if fits := self.has_room(footprint):
                self._ledger.reserve(ref, footprint)
            return fits

    async def correct(self, ref: str, measured: Footprint, *, evict: bool = True) -> bool:
        """Replace a reservation by what was measured. If that is more than there is: evict, or
        (`evict` False, or it can never fit) give the reservation up and answer False."""
        try:
            while True:
                async with self._turn:
                    made = await self._try_to_correct(ref, measured, evict)
                if made is not None:
                    return made
                await asyncio.sleep(POLL_S)
        except asyncio.CancelledError:
            self._ledger.release(ref)
            raise

    async def _try_to_correct(self, ref: str, measured: Footprint, evict: bool) -> bool | None:
        if self._ledger.correct(ref, measured):
            return True
        predicted = self._ledger.get(ref)
        self._ledger.release(ref)  # nobody else can take the room while it is our turn
        made = await self._try_to_make_room(ref, measured) if evict else False
        if made is None and predicted is not None:
            self._ledger.reserve(ref, predicted)
        return made

    async def _try_to_make_room(self, ref: str, footprint: Footprint) -> bool | None:
        """Whether the room was made; None if it cannot be made just now."""
        decision = plan(self._ledger, footprint, self.residents())
        if isinstance(decision, Refusal):
            return False if decision.never else None
        # A load may be given up here (its lease is lost); an eviction once begun must end.
        await asyncio.shield(asyncio.gather(*(self.evict(victim) for victim in decision.evict)))
        self._ledger.reserve(ref, footprint)
        return True

    async def evict(self, ref: str) -> None:
        """Retire, drain and free one copy."""
        copy = self._copies.get(ref)
        if copy is None or copy.retiring:
            return
        copy.retiring = True
        begun = clock.monotonic()
        last = await self._retire(ref)
        # Only a read from here on shows that nothing more comes: until Redis retired it, which may
        # have taken a while, requests were placed on it.
        retired = clock.monotonic()
        # Queue, device and reader end independently: a short poll is simpler than events.
        while self._busy(copy) or not self._caught_up(last, retired):  # noqa: ASYNC110 - see above
            await asyncio.sleep(POLL_S)
        await failpoints.reach("evict.drained")
        self._batcher.close(ref)
        await self._device.run(copy.model.unload)
        self._ledger.release(ref)
        self._copies.remove(ref)  # last: who waits to load it again begins after all of this
        log.info("evicted %s after %.0f ms", ref, (clock.monotonic() - begun) * 1000)

    async def until_freed(self, ref: str) -> None:
        """Return when no copy of `ref` is on its way out."""
        while (copy := self._copies.get(ref)) is not None and copy.retiring:  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)

    async def _retire(self, ref: str) -> bytes:
        member = self._membership
        last = await until_answered(lambda: self._scripts.retire(member.worker, member.epoch, ref))
        # Fenced: the map forgot us, and what was placed here has been moved away.
        return last.encode() or b"0-0"

    def _busy(self, copy: Copy) -> bool:
        return copy.running > 0 or self._batcher.waiting(copy.ref) > 0
