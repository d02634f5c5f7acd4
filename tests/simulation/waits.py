"""The time of each request, by a clock that nothing sets: Redis's own is set now and then.

I6: T1  a request expired before it had waited its time
T2  a gateway that lived through a leap of Redis's clock took it for time that passed

Where no gateway has lived through it, no process can know: then nothing more is judged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shared.gateway_scripts import Placing
from tests.simulation.process import Process
from tests.simulation.server import Ran

if TYPE_CHECKING:
    from tests.simulation.request import Request

ARGS = 5  # EVALSHA, its hash, 1, the prefix, now
LIMITS, FIELDS = 3, len(Placing._fields)
LEAST_LEAP_MS = 1900  # as a gateway measures the least that there are
EARLY_MS = 50.0  # rounding
OUTAGE_MS = 60_000  # what the clock may be behind after a leap back, at most


class Waits:
    """When requests are due (ms since the beginning of the schedule's clock)."""

    def __init__(self, violated: Callable[[str], None], now_ms: Callable[[], int]) -> None:
        self._violated = violated
        self._now_ms = now_ms
        self._given: dict[str, int] = {}  # timeouts
        self._longer: dict[str, int] = {}  # placed before a leap was known: may live on for it
        self._due: dict[str, int] = {}
        self._since: dict[Process, int] = {}  # its first reading of the clock
        self._leaps: list[tuple[int, int]] = []  # when, and by how much: no gateway has found them
        self._unfound_ms = 0
        self.guessed = False

    def leapt(self, ms: int) -> None:
        """Redis's clock is set."""
        self._leaps.append((self._now_ms(), ms))
        self._unfound_ms += abs(ms) + (OUTAGE_MS if ms < 0 else 0)

    def ran(self, process: Process, args: tuple[Any, ...], ran: Ran) -> None:
        """A script is about to be followed."""
        if ran.script == "keep_clock":
            self._clock_kept(process, args[ARGS + 1 :], ran.reply[1] == b"")
        elif ran.script == "place":
            rows = args[ARGS + LIMITS + 1 + FIELDS :]
            for at in range(0, len(rows), FIELDS):
                item = Placing(*rows[at : at + FIELDS])
                if not item.ingress:  # when that was written only its producer knows
                    self._given[item.id] = int(item.timeout_ms)
        elif ran.script == "heartbeat":
            self.guessed |= any(e.key.endswith(":clock") for e in ran.effects)

    def _clock_kept(self, process: Process, said: tuple[Any, ...], followed: bool) -> None:
        since = self._since.setdefault(process, self._now_ms())
        if not followed or not self._leaps:
            return
        if said[0]:
            seen_ms = sum(ms for at, ms in self._leaps if at > since)
            self.guessed |= abs(sum(ms for _, ms in self._leaps) - int(said[1])) > LEAST_LEAP_MS
            if int(said[1]) == 0 and abs(seen_ms) > LEAST_LEAP_MS:
                self._violated(f"T2: {process} says that Redis's clock did not leap")
        self._leaps, self._unfound_ms = [], 0

    def arrived(self, request: Request) -> None:
        """Its first entry."""
        if request.id in self._given:
            self._due[request.id] = self._now_ms() + self._given[request.id]
        self._longer[request.id] = self._unfound_ms

    def ended(self, request: Request, status: str, script: str) -> None:
        """It has ended just now. What `cancel` ends was measured by its gateway's own clock, and
        from its arrival there, which was long before it came to a Redis that was away."""
        early = self._due.get(request.id, 0) - self._now_ms()
        own = script == "cancel"
        if status == "expired" and early > EARLY_MS and not self.guessed and not own:
            self._violated(f"T1: {request.id} expired {early} ms too early")

    def may_last(self, request: Request) -> bool:
        """Whether its deadline may be minutes away: it was placed when nobody knew of a leap."""
        return self.guessed or self._longer[request.id] > 0

    def late_ms(self, request: Request, healed_ms: int) -> float:
        """By how much it ended too late, were it not for the faults until then."""
        if self.guessed or request.id not in self._due:
            return 0
        due = max(self._due[request.id] + self._longer[request.id], healed_ms)
        return request.ended_ms - due
