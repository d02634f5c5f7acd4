"""Whether what nobody wants any more runs.

S8  the device takes up a request that was cancelled, or had expired, a while before
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tests.simulation.loop import PROCESS
from worker.serving.batch_start import FRESH_S

if TYPE_CHECKING:
    from tests.simulation.world import World

WELL_S = 2.5  # no look at Redis failed meanwhile
SEEN_MS = 1000 * (FRESH_S + 0.03)  # older ends are known: the worker's news, and a slow round trip


class Wanted:
    """The judge."""

    def __init__(self, world: World) -> None:
        self._world = world

    def taken_up(self, requests: Iterable[str]) -> None:
        """The device of the process whose code runs begins to compute these now."""
        process, history = PROCESS.get(), self._world.history
        if self._world.wellness.seconds(process) <= WELL_S:
            return
        for request in (history.requests.get(name) for name in requests):
            late_ms = self._world.server.true_ms - request.ended_ms if request else 0
            if request and request.ended in ("cancelled", "expired") and late_ms > SEEN_MS:
                history.violated(
                    f"S8: {process} runs {request.id}, {request.ended} {late_ms} ms ago"
                )
