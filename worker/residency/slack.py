"""What calls and loads have freed goes back to the system in idle moments.

While a worker computes, its heap keeps that for the next call: pages taken anew would cost more
than the call itself. An idle worker keeps nothing that others on the machine could use.
"""

from __future__ import annotations

from shared import clock
from worker.residency.context import WorkerContext

EVERY_S = 0.5
IDLE_S = 0.3  # without a call, before the heap is walked: a trim of 500 MiB takes 50 ms
WORTH_BYTES = 2 << 20


class Slack:
    """Looks twice a second."""

    def __init__(self, parts: WorkerContext) -> None:
        self._copies = parts.copies
        self._device = parts.device
        self._gauge = parts.gauge
        self._thread = parts.thread

    async def run_once(self) -> int:
        """Bytes that were there to be given back, 0 if this was no moment for it."""
        if not self._idle():
            return 0
        slack = self._device.slack()
        if slack < WORTH_BYTES:
            return 0
        await self._thread.run(self._device.trim)
        return slack

    def _idle(self) -> bool:
        before = clock.monotonic() - IDLE_S
        resting = all(not c.running and c.last_used < before for c in self._copies.all())
        return resting and self._gauge.quiet
