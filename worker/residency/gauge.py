"""What a copy really takes: the device's live bytes before and after, where nothing else can have
changed them meanwhile.

A load is measured from a moment between two batches to the moment after its warm-up; batches that
run in between leave nothing behind. What cannot be told apart from another load, or from a copy
that leaves meanwhile, is not measured: the prediction stands, and the next load may show it.
"""

from __future__ import annotations

from collections.abc import Callable

# Below that, what the event loop holds meanwhile cannot be told from what a model does.
NOISE = 256 << 10


class Span:
    """A stretch of time in which a load, an unload or a run changes what is live. `change`: by how
    many bytes, once it is over; None if that cannot be told."""

    def __init__(self) -> None:
        self.before: int | None = None
        self.clean = True
        self.over = False
        self.change: int | None = None


class Gauge:
    """`live()` of the device; `inflight()`: bytes of requests that were taken in, which are no
    model's. `begin` and `end` look at a moment when no batch is on the device: on its thread."""

    def __init__(
        self, live: Callable[[], int | None], inflight: Callable[[], int] = lambda: 0
    ) -> None:
        self._live = live
        self.inflight = inflight
        self._open: set[Span] = set()

    @property
    def can_tell(self) -> bool:
        """Whether anything can be measured on this device."""
        return self._live() is not None

    @property
    def quiet(self) -> bool:
        """Whether nothing is being measured: a run may be."""
        return not self._open

    def begin(self, span: Span, look: bool = True) -> None:
        """From here on all change is the span's, or not clean. Without `look` it is never clean,
        and only keeps others from being: that may be said from any thread."""
        if span.over:
            return  # it was given up before it began
        span.clean = look and self.quiet
        self.disturb()
        self._open.add(span)
        span.before = self.now() if look else None

    def end(self, span: Span) -> int | None:
        """It is over; what it changed."""
        if not span.over:
            now = self.now() if span.clean else None
            if now is not None and span.before is not None:
                span.change = now - span.before
        self.close(span)
        return span.change

    def close(self, span: Span) -> None:
        """It is over, however it ended; from any thread. To be called for each `begin`."""
        span.over = True
        self._open.discard(span)

    def measure(self, call: Callable[[], object]) -> int | None:
        """What a call on the device thread changes; its exceptions are raised."""
        span = Span()
        self.begin(span)
        try:
            call()
            return self.end(span)
        finally:
            self.close(span)

    def disturb(self) -> None:
        """What is being measured has company: it cannot be told."""
        for span in tuple(self._open):
            span.clean = False

    def now(self) -> int | None:
        """Live bytes, but for those of requests."""
        live = self._live()
        return None if live is None else live - self.inflight()


def taken(certain: int, change: int | None, learned: int | None) -> int:
    """Own bytes of a copy: as measured, but never less than its weights certainly take. Where that
    is not known, what was learned before."""
    if change is None:
        return max(certain, learned or 0)
    return change if change > certain + NOISE else certain
