"""What a load is asked for, and what it brought."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

from shared.errors import InsufficientMemory
from shared.event_log import EventLog
from shared.manifest import Manifest
from worker.loading.warmup import Ready
from worker.residency.copies import Copy
from worker.residency.model_stats import ModelStats

log = logging.getLogger(__name__)


class LoadRequest(NamedTuple):
    """A load to carry out. `suspect`: the model has crashed a worker, so it is loaded while nothing
    else runs. `evict` False: into free memory only. `report_wait(why)` is called while the load
    waits, with '' when it goes on. `last`: no other worker is left to be asked."""

    ref: str
    manifest: Manifest
    stats: ModelStats
    suspect: bool = False
    evict: bool = True
    report_wait: Callable[[str], object] = lambda why: None
    last: bool = False


class CallsTooLarge(InsufficientMemory):
    """The copy fits, and what its calls are known to take does not; or only other workers have
    measured that the copy does not. Another one may have the capacity. If none is left, a load with
    `last` is tried."""


class LoadResult(NamedTuple):
    """The copy, the tier it came from (host | disk | remote), and how it is served."""

    copy: Copy
    tier: str
    ready: Ready

    def learned(self, device_class: str) -> dict[str, object]:
        """The statistics that the load adds: fields of `stats:<ref>`."""
        given = self.copy.manifest.residency
        return {
            f"own:{device_class}": self.copy.model.bytes_resident,
            f"shared:{device_class}": sum(self.copy.model.shared.values()),
            self.tier: round(self.copy.load_s * 1000),
            "min_copies": given.least_copies,
            "max_copies": given.max_copies,
            "pin": int(given.pin),
            "unwarmed": self.ready.cold,
            **({"rows": self.ready.finding} if self.ready.finding else {}),
        }


def report(events: EventLog, result: LoadResult, stats: ModelStats) -> None:
    """Say for people what was loaded, and how it is served."""
    copy, tier, ready = result
    events.emit(
        "promoted" if tier == "host" else "loaded", copy.ref, tier_from=tier, tier_to="device",
        bytes=copy.footprint.total, seconds=copy.load_s,
        warmed=False if ready.cold else None, reason=ready.cold and f"not warmed: {ready.cold}",
    )  # fmt: skip
    log.info("loaded %s from %s in %.0f ms", copy.ref, tier, copy.load_s * 1000)
    if ready.unbatched and ready.finding != stats.finding:
        events.emit("unbatched", copy.ref, reason=ready.unbatched)
        log.warning("%s is served unbatched: %s", copy.ref, ready.unbatched)
