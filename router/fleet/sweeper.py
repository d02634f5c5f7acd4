"""Housekeeping of a cell: leases, dead workers and gateways, expired requests, missing copies.

Every gateway does all of it; each step is one atomic script, so together they do it once.
"""

from __future__ import annotations

import logging
from collections import Counter

from shared.event_log import EventLog
from shared.script_runner import CHUNK
from shared.scripts import GatewayScripts

log = logging.getLogger(__name__)

BEAT_EVERY_S = 1.0
SWEEP_EVERY_S = 0.5
MAX_CHUNKS = 1000


class Sweeper:
    """Two loops: the lease of this gateway, and the sweep of the cell."""

    def __init__(
        self,
        scripts: GatewayScripts,
        gateway: str,
        lease_s: float,
        max_attempts: int,
        events: EventLog,
    ) -> None:
        self._scripts = scripts
        self._events = events
        self._gateway = gateway
        self._lease_ms = round(lease_s * 1000)
        self._max_attempts = max_attempts

    async def beat_once(self) -> int:
        """Renew this gateway's lease; the number of entries moved from dead gateways back to
        doors."""
        return await self._scripts.gateway_beat(self._gateway, self._lease_ms)

    async def sweep_once(self) -> Counter[str]:
        """Reap dead workers, expire requests, repeat unclaimed orders, end sessions."""
        counts: Counter[str] = Counter()
        for _ in range(MAX_CHUNKS):
            reaped = await self._scripts.reap(self._max_attempts, self._lease_ms)
            if reaped is None:
                break
            counts["reaped"] += reaped[1] == 0
            log.warning("worker %s lost its lease: %d of its requests left to move", *reaped)
        for _ in range(MAX_CHUNKS):
            expired, ordered, placed = await self._scripts.sweep()
            counts.update(expired=expired, ordered=ordered, placed=placed)
            if max(expired, placed) < CHUNK:
                break
        counts.update(await self._reconcile())
        return counts

    async def _reconcile(self) -> Counter[str]:
        """End sessions without a heartbeat, order missing copies."""
        ended, missing = await self._scripts.reconcile()
        if ended:
            self._events.emit("session_closed", reason=f"without a heartbeat: {ended} sessions")
        if missing:
            reason = f"fewer copies than min_copies: {missing} models"
            self._events.emit("ordered_copy", reason=reason)
        return Counter(sessions_ended=ended, copies_ordered=missing)
