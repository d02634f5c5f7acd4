"""Acts on the health of a worker: runs self-tests that are due, and has a sick worker leave."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from shared import clock, statuses
from shared.backoff import doubled_s
from shared.event_log import EventLog
from worker.health.failure_row import Unexplained
from worker.health.health import Health, State

log = logging.getLogger(__name__)

EVERY_S = 0.5
FIRST_S, LONGEST_S = 1.0, 30.0  # between two rounds of tests, doubling
COMPARED_EVERY_S = 30.0

TryAgain = Callable[[str], Awaitable[bool | None]]
Compare = Callable[[Unexplained], Awaitable[Iterable[str]]]


class Checks(Protocol):
    """`checks.LoadChecks`."""

    async def run(self) -> dict[str, str]:
        """By test: the reason if it failed, else ''."""


class HealthMonitor:
    """`try_again(ref)`: whether a call of the model that has succeeded before succeeds now, None if
    none is known. `compare(failed)`: the models of them that other workers serve. `held()`: the
    models that are here. `leave(reason)`: drain and end. `events`
    takes each change."""

    def __init__(
        self,
        health: Health,
        checks: Checks,
        try_again: TryAgain,
        compare: Compare,
        held: Callable[[], Iterable[str]],
        leave: Callable[[str], object],
        events: EventLog,
    ) -> None:
        self._health = health
        self._checks = checks
        self._try_again = try_again
        self._compare = compare
        self._held = held
        self._leave = leave
        self._events = events
        self._rounds = 0
        self._next_round = self._next_comparison = 0.0
        self._seen = State()

    async def run_models(self) -> int:
        """Try the models whose calls fail; how many there were."""
        calls = self._health.calls
        calls.forget(self._held())
        due = calls.to_try()
        for ref in due:
            succeeded = await self._try_again(ref)
            calls.tried(ref, succeeded)
            log.warning("calls of %s fail one after another; %s", ref, _FOUND[succeeded])
        self._act()
        return len(due)

    async def run_loads(self) -> int:
        """Test what loads need if some have failed; 1 if that was done."""
        due = self._health.testing and clock.monotonic() >= self._next_round
        if due:
            self._rounds += 1
            self._health.tested(await self._checks.run())
            self._next_round = clock.monotonic() + doubled_s(self._rounds, FIRST_S, LONGEST_S)
        elif not self._health.testing:
            self._rounds, self._next_round = 0, 0.0
        self._act()
        return int(due)

    async def run_comparison(self) -> int:
        """Compare with other workers if everything fails here; 1 if that was done."""
        failed = self._health.unexplained
        if failed is None:
            self._health.compared(())
        if failed is None or clock.monotonic() < self._next_comparison:
            return 0
        self._next_comparison = clock.monotonic() + COMPARED_EVERY_S
        self._health.compared(await self._compare(failed))
        self._act()
        return 1

    def _act(self) -> None:
        state = self._health.state
        if state.health == self._seen.health:
            return
        self._seen = state
        self._events.emit("health", reason=": ".join(filter(None, state)))
        if state.health == statuses.HEALTHY:
            log.info("this worker is healthy again")
            return
        log.warning("this worker is %s: %s", state.health, state.reason)
        if state.health == statuses.SICK:
            self._leave(state.reason)


_FOUND = {
    True: "its warm-up call succeeds, so that is the fault of their inputs",
    False: "its warm-up call fails too, which it did not when it was loaded",
    None: "no call of it is known to succeed",
}
