"""The real size of a copy: the device's live bytes before and after a load, where nothing else can
have changed them.

A load is measured from a moment between two batches to the moment after its warm-up; batches that
run in between leave nothing behind. Where another load or an eviction runs at the same time the
change cannot be attributed and is not used: the prediction stands, and the next load may show it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from shared.footprint import sharing
from shared.manifest import Manifest
from shared.platforms import Sharing
from worker.device.thread import DeviceThread
from worker.runtimes.base import LoadedModel, prepare

# Smaller changes cannot be distinguished from what the event loop allocates in the meantime.
NOISE = 256 << 10


class PeakMeter(Protocol):
    """Measures what calls take while they run, on the device thread."""

    def start(self) -> Any | None:
        """Before a call, for `taken`; None if it cannot be measured now."""

    def taken(self, before: Any, kept: int) -> int:
        """After it: the bytes that it took at most, beside what it has `kept`."""


class Span:
    """A stretch of time in which a load, an unload or a run changes what is live. `change`: by how
    many bytes, once it is over; None if that is not known."""

    def __init__(self) -> None:
        self.before: int | None = None
        self.clean = True
        self.over = False
        self.change: int | None = None


class Gauge:
    """Measures live bytes. `live()`: those of the device, None if it cannot say; `inflight()`:
    bytes of requests that were read, which belong to no model; `peak`: measures what calls take
    while they run. `begin` and `end` run on the device
    thread, at a moment when no batch is on the device."""

    def __init__(
        self, live: Callable[[], int | None], inflight: Callable[[], int] = lambda: 0,
        peak: PeakMeter | None = None,
    ) -> None:  # fmt: skip
        self._live = live
        self.peak = peak
        self.inflight = inflight
        self._open: set[Span] = set()

    @property
    def can_measure(self) -> bool:
        """Whether this device says how many bytes are live."""
        return self._live() is not None

    @property
    def quiet(self) -> bool:
        """Whether no measurement is under way."""
        return not self._open

    def begin(self, span: Span, look: bool = True) -> None:
        """Begin a span: until its end every change is its own, or it is not clean. Without `look`
        it is never clean, and only keeps other spans from being clean: then from any thread."""
        if span.over:
            return  # it was given up before it began
        span.clean = look and self.quiet
        self.disturb()
        self._open.add(span)
        span.before = self.now() if look else None

    def end(self, span: Span) -> int | None:
        """End a span; the change in bytes, None if that is not known."""
        if not span.over:
            now = self.now() if span.clean else None
            if now is not None and span.before is not None:
                span.change = now - span.before
        self.close(span)
        return span.change

    def close(self, span: Span) -> None:
        """Close a span, however it ended; from any thread. Needed once for each `begin`."""
        span.over = True
        self._open.discard(span)

    def measure(self, call: Callable[[], object]) -> int | None:
        """By how many bytes a call on the device thread changes what is live; its exceptions
        pass."""
        span = Span()
        self.begin(span)
        try:
            call()
            return self.end(span)
        finally:
            self.close(span)

    def disturb(self) -> None:
        """Mark every open span as not clean: something else changes what is live."""
        for span in tuple(self._open):
            span.clean = False

    def now(self) -> int | None:
        """Live bytes, without those of requests; None if the device cannot say."""
        live = self._live()
        return None if live is None else live - self.inflight()


def own_bytes(certain: int, change: int | None, learned: int | None) -> int:
    """Own bytes of a copy: as measured, but at least the `certain` bytes of its weights. Without a
    measurement the bytes that an earlier load has `learned`."""
    if change is None:
        return max(certain, learned or 0)
    return change if change > certain + NOISE else certain


class LoadGauge:
    """Measures loads of formats that share nothing. What the others share is counted by its blobs,
    and attached too fast to wait for a moment between two batches.

    The first run of a format in a process allocates what all of its models use from then on
    (TorchScript: 6.7 MB beside 6 MB of weights, the next ones 0.1), so that load is not measured.
    """

    def __init__(self, thread: DeviceThread, gauge: Gauge) -> None:
        self._thread = thread
        self._gauge = gauge
        self._ran: set[str] = set()  # platforms

    @asynccontextmanager
    async def load(self, manifest: Manifest) -> AsyncIterator[Span]:
        """Measure the load that runs in the block."""
        span = Span()
        try:
            if sharing(manifest) is not Sharing.NOTHING:
                self._gauge.begin(span, look=False)
            else:
                await asyncio.to_thread(prepare, manifest.platform)
                await self._thread.run(lambda: self._gauge.begin(span))
            yield span
        finally:
            self._gauge.close(span)

    async def correct(
        self, manifest: Manifest, model: LoadedModel, span: Span, learned: int | None
    ) -> None:
        """Set the bytes of a model that has run once. `learned`: own bytes, of an earlier load."""
        change = await self._thread.run(lambda: self._gauge.end(span))
        if manifest.platform not in self._ran:
            self._ran.add(manifest.platform)
            change = None
        if self._gauge.can_measure and sharing(manifest) is Sharing.NOTHING:
            model.bytes_resident = own_bytes(model.bytes_resident, change, learned)
