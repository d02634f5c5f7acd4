"""Which fields of a worker's report a heartbeat has to write: those that have changed.

The whole report, 100 bytes for each copy, went to Redis and into its append-only file each second:
55 KB/s from a worker of 1,000 idle copies.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from shared import clock
from shared.worker_report import gist, hits

ALL_EVERY_S = 10.0  # how often a copy was used is never older
# While none was used: `copies_at` says how long they have been idle then. Half of it at least, so
# that workers that were started together do not go on to write together.
UNUSED_EVERY_S = 60.0


class ReportChanges:
    """What Redis has of the report of one worker. Used on the heartbeat thread."""

    def __init__(self) -> None:
        self._epoch = ""
        self._written: dict[str, object] = {}
        self._hits: dict[str, int] = {}  # as written, of each copy
        self._all_at = 0.0
        self._unused_s = UNUSED_EVERY_S

    def due(self, epoch: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The fields to write in this epoch: all of them in its first beat, and from time to
        time."""
        age_s = clock.monotonic() - self._all_at
        is_old = age_s >= self._unused_s or (age_s >= ALL_EVERY_S and hits(fields) != self._hits)
        if epoch != self._epoch or is_old:
            self.forget()
        known = self._written
        return {n: v for n, v in fields.items() if n not in known or known[n] != gist(n, v)}

    def written(self, epoch: str, fields: Mapping[str, Any]) -> None:
        """Redis has confirmed these fields."""
        if not self._written:
            self._all_at = clock.monotonic()
            self._unused_s = UNUSED_EVERY_S * random.uniform(0.5, 1)
        if "copies" in fields:
            self._hits = hits(fields)
        self._epoch = epoch
        self._written |= {name: gist(name, value) for name, value in fields.items()}

    def forget(self) -> None:
        """Redis may have anything: an answer was lost."""
        self._written = {}
