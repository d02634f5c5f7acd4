"""A load is weighed: what the copy takes on the device, corrected by what its load really added."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.manifest import Manifest
from worker.residency.context import WorkerContext
from worker.residency.gauge import Span, taken
from worker.residency.ledger import shares
from worker.runtimes.base import LoadedModel, prepare


class Weighing:
    """Weighs loads of formats that share nothing. What the others share is counted by its blobs,
    and attached too fast to wait for a moment between two batches.

    The first run of a format in a process allocates what all of its models use from then on
    (TorchScript: 6.7 MB beside 6 MB of weights, the next ones 0.1), so that load is not told.
    """

    def __init__(self, parts: WorkerContext) -> None:
        self._device = parts.thread
        self._gauge = parts.gauge
        self._ran: set[str] = set()  # platforms

    @asynccontextmanager
    async def load(self, manifest: Manifest) -> AsyncIterator[Span]:
        """The load is the block."""
        span = Span()
        try:
            if shares(manifest):
                self._gauge.begin(span, look=False)
            else:
                await asyncio.to_thread(prepare, manifest.platform)
                await self._device.run(lambda: self._gauge.begin(span))
            yield span
        finally:
            self._gauge.close(span)

    async def weigh(
        self, manifest: Manifest, model: LoadedModel, span: Span, learned: int | None
    ) -> None:
        """The copy has run once: set its bytes. `learned`: own bytes, of an earlier load."""
        change = await self._device.run(lambda: self._gauge.end(span))
        if manifest.platform not in self._ran:
            self._ran.add(manifest.platform)
            change = None
        if self._gauge.can_tell and not shares(manifest):
            model.bytes_resident = taken(model.bytes_resident, change, learned)
