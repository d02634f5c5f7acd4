"""Workers that are sick: one errs, crashes, is refused by the store, or reports what is not so."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from tests.simulation.loop import PROCESS, SimLoop

ERRS, CRASHES, FORBIDDEN, LIES = "calls fail", "calls crash", "store forbids", "report lies"
FIRST_FIELD = 10  # of a heartbeat's arguments: field, value, field, value ...
# What a lying report says; also that the worker is sick, which is then to be believed.
LIES_TOLD = (
    {"busy_share": "0", "used_bytes": "0", "reserved_bytes": "0", "completed_per_s": "100000"},
    {"busy_share": "1", "used_bytes": "99999999999", "completed_per_s": "0"},
    {"max_models": "1", "loads_total": "0", "service_ms": "0"},
    {"health": "suspect", "health_reason": "it says so"},
    {"health": "sick", "health_reason": "it says so"},
    {"health": "sick", "busy_share": "0", "used_bytes": "0"},
    {"health": "sick", "failing": "[]", "completed_per_s": "100000"},
    {"health": "of a later release", "failing": "no json", "copies": "[]"},
)


class Sickness:
    """Until when each worker has what, in virtual time. `felt`: how often it showed."""

    def __init__(self, loop: SimLoop, dice: random.Random) -> None:
        self._loop = loop
        self._dice = dice
        self._until: dict[tuple[str, str], float] = {}
        self._struck: set[tuple[str, str]] = set()
        self._lies: dict[str, dict[str, str]] = {}
        self.felt: Counter[str] = Counter()

    def strike(self, what: str, worker: str, seconds: float) -> None:
        """From now on, for a while."""
        self._until[what, worker] = self._loop.now + seconds
        self._struck.add((what, worker))
        if what == LIES:
            self._lies[worker] = self._dice.choice(LIES_TOLD)

    def heal(self) -> None:
        """All are well."""
        self._until.clear()

    def has_any(self, worker: str) -> bool:
        """Whether a worker has had anything in this schedule: it may be remembered for long."""
        return any(name == worker for _, name in self._struck)

    def is_here(self, what: str) -> bool:
        """Whether the worker whose code runs now has it."""
        process = PROCESS.get()
        worker = process.name.partition("/")[0] if process else ""
        if self._until.get((what, worker), 0.0) <= self._loop.now:
            return False
        self.felt[what] += 1
        return True

    def reported(self, worker: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments of a heartbeat as they are sent: changed, if the worker lies."""
        if self._until.get((LIES, worker), 0.0) <= self._loop.now:
            return args
        self.felt[LIES] += 1
        fields = dict(zip(args[FIRST_FIELD::2], args[FIRST_FIELD + 1 :: 2], strict=True))
        fields.update(self._lies[worker])
        return (*args[:FIRST_FIELD], *(part for pair in fields.items() for part in pair))
