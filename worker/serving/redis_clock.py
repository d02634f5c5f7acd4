"""Bounds on Redis's clock, for deadlines.

Redis's clock is the only one for deadlines. An answer that carried its time `t` was sent before it
was received, so from then on Redis's clock shows at least `t` plus what has passed here. That is a
lower bound; the upper bound is not known, so a margin far above any delay of an answer is kept.
Clocks drift apart, and a failover brings another clock: a bound is believed for a minute.
"""

from __future__ import annotations

from shared import clock

BELIEVED_S = 60.0
MARGIN_MS = 15_000  # over the command timeout: later answers are not waited for


class RedisClock:
    """Bounds on Redis's clock, from the answers of `begin`: only what is certain."""

    def __init__(self) -> None:
        self._ahead_ms: float | None = None
        self._since = 0.0

    def observe(self, now_ms: int) -> None:
        """An answer carried Redis's time. The largest difference came with the least delay."""
        now = clock.monotonic()
        ahead = now_ms - now * 1000
        if self._ahead_ms is None or ahead > self._ahead_ms or now - self._since > BELIEVED_S:
            self._ahead_ms, self._since = ahead, now

    def certainly_before(self, deadline_ms: int) -> bool:
        """Whether Redis's clock cannot have reached `deadline_ms` yet."""
        if self._ahead_ms is None:
            return False
        return clock.monotonic() * 1000 + self._ahead_ms + MARGIN_MS < deadline_ms

    @property
    def observed(self) -> bool:
        """Whether an answer has carried Redis's time."""
        return self._ahead_ms is not None

    def local_deadline(self, deadline_ms: int) -> float:
        """The moment of `clock.monotonic` at which Redis's clock has certainly reached
        `deadline_ms`. Only after the first observation."""
        assert self._ahead_ms is not None, "this is a bug: Redis's time was not observed yet"
        return (deadline_ms - self._ahead_ms) / 1000
