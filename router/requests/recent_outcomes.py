"""What became of requests whose callers waited here: it can be asked for by id, at any gateway.

A request that succeeded has no record in Redis, and making one would cost each a write. So the
answers of a second go there together, without payloads, and the cell keeps the newest. A gateway
that is killed takes the last second with it. (Failures are kept where they are decided.)
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from shared.envelope import pack_error
from shared.errors import Expired, WarmrouteError
from shared.names import ModelRef
from shared.script_runner import CHUNK
from shared.scripts import Scripts

EVERY_S = 1.0
MOST_A_SECOND = 1000  # of a gateway; of more the newest
TOLD_BYTES = 600


class End(NamedTuple):
    """What became of a request; `error` of one that did not succeed."""

    id: str
    ref: ModelRef
    worker: str
    cold: bool
    error: WarmrouteError | None = None

    def text(self) -> bytes:
        """As `lua/lib/outcomes.lua` keeps it: status, worker, cold, ref, outcome."""
        status = "expired" if isinstance(self.error, Expired) else "failed"
        status = "succeeded" if self.error is None else status
        outcome = b"" if self.error is None else pack_error(self.error)[:TOLD_BYTES]
        return f"{status} {self.worker or '-'} {self.cold:d} {self.ref} ".encode() + outcome


class RecentOutcomes:
    """The ends of this gateway's requests on their way to Redis. `add` costs next to nothing."""

    def __init__(self, scripts: Scripts, most: int) -> None:
        self._scripts = scripts
        self._most = most
        self._ends: deque[End] = deque(maxlen=min(most, MOST_A_SECOND))
        self.add = self._ends.append

    async def run_once(self) -> int:
        """Send what there is, best effort; the number of requests."""
        ends = [self._ends.popleft() for _ in range(len(self._ends))]
        for at in range(0, len(ends), CHUNK):
            flat: list[str | bytes] = []
            for end in ends[at : at + CHUNK]:
                flat += (end.id, end.text())
            await self._scripts.record_outcomes(self._most, flat)
        return len(ends)
