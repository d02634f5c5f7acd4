"""The health of a worker, decided from its calls, its loads and its self-tests. Pure.

    healthy
    suspect   other workers are asked first: its loads or several of its models fail, or its device
              processes crashed one after another
    sick      it drains and leaves: its device fails, its disk has failed for long, or nothing has
              succeeded here for minutes while others like it can do what failed

A store that cannot be reached, or refuses the credentials, makes a worker suspect for as long as
that lasts and never sick: what is warm here is served. A new process would not reach it either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from shared import clock, statuses
from shared.errors import WarmrouteError
from worker.health.calls import CallRecord
from worker.health.failure_row import SEVERAL, FailureRow, Unexplained
from worker.health.load_gate import LoadGate, is_local, may_be_local

DISK = "disk"
DISK_SICK_S = 600.0  # a disk that fails for that time makes the worker sick
MODELS_SICK = 2  # models that fail calls that succeeded here before: then it is the device
SHARE_SUSPECT = 0.5  # of all calls
MAX_REASON = 300


class State(NamedTuple):
    """The health as it is reported, and why it is not good."""

    health: str = statuses.HEALTHY
    reason: str = ""


class Health:
    """What is known of this worker. `calls` belongs to the device thread, the rest to the event
    loop; any thread may read."""

    def __init__(self) -> None:
        self.calls = CallRecord()
        self.gate = LoadGate()
        self._loads = FailureRow(loads=True)
        self._compared: tuple[str, ...] = ()  # models that fail here and not elsewhere
        self._failing: dict[str, tuple[str, float]] = {}  # test -> reason, since when
        self._probation: tuple[str, float] = ("", 0.0)

    def on_probation(self, reason: str, seconds: float) -> None:
        """Suspect for some time, whatever succeeds."""
        self._probation = reason, clock.monotonic() + seconds

    def load_succeeded(self) -> None:
        """This worker can load."""
        self.gate.succeeded()
        self._loads.end()

    def load_failed(self, ref: str, error: WarmrouteError, *, bug: bool = False) -> None:
        """A load of `ref` failed with `error`, through whichever fault; `bug`: ours."""
        if bug or is_local(error):
            self.gate.failed(error.message)
        if may_be_local(error):
            self._loads.failed(ref, self.calls.succeeded_at)

    @property
    def unexplained(self) -> Unexplained | None:
        """What has gone on failing for minutes, with nothing that succeeds, while every self-test
        passes; None if nothing has. It is to be compared with other workers."""
        succeeded_at = self.calls.succeeded_at
        return self._loads.lasting(succeeded_at) or self.calls.row.lasting(succeeded_at)

    def compared(self, served: Iterable[str]) -> None:
        """Other workers like this one can do what fails here, of these models."""
        self._compared = tuple(served)

    def tested(self, reasons: Mapping[str, str]) -> None:
        """The results of tests of what loads need: the reason of each that failed, '' of each that
        passed. If all have passed, the next load need not wait; else they explain failed loads."""
        now = clock.monotonic()
        for test, reason in reasons.items():
            if reason:
                self._failing[test] = reason, self._failing.get(test, ("", now))[1]
            else:
                self._failing.pop(test, None)
        if self._failing:
            self._loads.end()
        else:
            self.gate.reopen()

    @property
    def testing(self) -> bool:
        """Whether loads or tests have failed, so that tests are due."""
        return bool(self.gate.failures or self._failing)

    @property
    def state(self) -> State:
        """The health now."""
        if reason := self._sick():
            return State(statuses.SICK, reason[:MAX_REASON])
        if reason := self._suspect():
            return State(statuses.SUSPECT, reason[:MAX_REASON])
        return State()

    def _sick(self) -> str:
        proved = self.calls.proved
        if len(proved) >= MODELS_SICK:
            return f"the device fails calls that it has carried out before, of {_names(proved)}"
        reason, since = self._failing.get(DISK, ("", 0.0))
        if reason and clock.monotonic() - since >= DISK_SICK_S:
            return reason
        failed = self.unexplained
        return _useless(failed, self._compared) if failed is not None else ""

    def _suspect(self) -> str:
        if self._failing:
            return "; ".join(reason for reason, _ in self._failing.values())
        if self.gate.suspect:
            return f"its loads fail: {self.gate.reason}"
        if self._loads.is_suspicious(self.calls.succeeded_at):
            return f"loads of several models fail: {_names(self._loads.refs)}"
        failing = self.calls.failing
        if len(failing) >= MODELS_SICK and self.calls.error_share >= SHARE_SUSPECT:
            return f"calls of several models fail: {_names(failing)}"
        reason, until = self._probation
        return reason if clock.monotonic() < until else ""


def _useless(failed: Unexplained, elsewhere: tuple[str, ...]) -> str:
    """Why this worker is of no use, if the same models are served elsewhere."""
    same = [ref for ref in failed.refs if ref in elsewhere]
    if len(same) < SEVERAL:
        return ""
    kind = "loads" if failed.loads else "calls"
    return (
        f"nothing has succeeded here for {failed.age_s:.0f} s and {failed.tries} failed {kind}, "
        f"and other workers serve {_names(same)}"
    )


def _names(refs: Iterable[str]) -> str:
    return ", ".join(ref.partition(":")[0] for ref in refs)
