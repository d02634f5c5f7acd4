"""Which device calls failed lately, and whose fault that is: a model's, or this worker's. Pure.

A call fails for its request's sake (a bad input), for its model's, or for the device's. One failure
shows nothing. Failures of one model one after another make the model suspicious here: its warm-up
call, which has succeeded on this worker, is run again. If that succeeds, the requests are to blame;
if it fails, the model is `failing` here; and if that holds for several models, the device is.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import exp

from shared import clock
from shared.backoff import doubled_s
from worker.health.failure_row import NEVER, FailureRow

IN_A_ROW = 3  # failed calls of a model without a success between them
FADE_S = 10.0
EXPLAINED_S = 60.0  # for which failures of a model are taken for its requests' fault
FIRST_S, LONGEST_S = 2.0, 60.0  # between two tries of a failing model, doubling


class _Model:
    """One model: its failures in a row, its tries, and when it is tried next. `proved`: a call that
    has succeeded here before fails too."""

    __slots__ = ("at", "failing", "proved", "row", "tries")

    def __init__(self) -> None:
        self.row = self.tries = 0
        self.at = 0.0
        self.failing = self.proved = False


class CallRecord:
    """The device calls of one worker. `succeeded` and `failed` belong to the device thread (the
    first is on the warm path); any thread may read."""

    def __init__(self) -> None:
        self._models: dict[str, _Model] = {}  # only those that fail
        self._calls = self._errors = 0.0  # lately, fading
        self._at = clock.monotonic()
        self.succeeded_at = NEVER
        self.row = FailureRow(loads=False)

    def succeeded(self, ref: str) -> None:
        """A call of `ref` has succeeded: nothing is wrong with it here."""
        self._count(0)
        self.succeeded_at = self._at
        if self._models:
            self._models.pop(ref, None)

    def failed(self, ref: str) -> None:
        """A call of `ref` has failed; not for want of memory."""
        model = self._models.setdefault(ref, _Model())
        model.row += 1
        explained = not model.failing and clock.monotonic() < model.at
        counts = model.row >= IN_A_ROW and not explained
        self._count(int(counts))
        if counts:
            self.row.failed(ref, self.succeeded_at)

    def to_try(self) -> list[str]:
        """Models whose warm-up call is to be run now: they fail, and the fault is not known."""
        now = clock.monotonic()
        return [
            ref for ref, model in self._all()
            if (model.row >= IN_A_ROW or model.failing)
            and now >= model.at
        ]  # fmt: skip

    def tried(self, ref: str, succeeded: bool | None) -> None:
        """The warm-up call of `ref` was run, or there is none (None): then only real requests show
        whether it still fails."""
        model = self._models.get(ref)
        if model is None:
            return  # a request has succeeded meanwhile
        now = clock.monotonic()
        if succeeded:
            self._models[ref] = explained = _Model()
            explained.at, self._errors = now + EXPLAINED_S, 0.0
            self.succeeded_at = now
        elif succeeded is None and model.failing:
            del self._models[ref]
        else:
            model.failing, model.proved, model.tries = True, succeeded is False, model.tries + 1
            wait_s = doubled_s(model.tries, FIRST_S, LONGEST_S)
            model.at = now + (wait_s if model.proved else EXPLAINED_S)

    def forget(self, refs: Iterable[str]) -> None:
        """Keep what is known of these models only: the others are not here any more."""
        kept = set(refs)
        for ref, _ in self._all():
            if ref not in kept:
                self._models.pop(ref, None)

    @property
    def failing(self) -> list[str]:
        """Models whose calls fail here, as far as that is not their requests' fault."""
        return sorted(ref for ref, model in self._all() if model.failing)

    @property
    def proved(self) -> list[str]:
        """Those of them of which a call fails that has succeeded here before."""
        return sorted(ref for ref, model in self._all() if model.proved)

    @property
    def error_share(self) -> float:
        """The share of the calls of the last seconds that failed and are not known to be the fault
        of a request, 0 to 1; 0 without any."""
        kept = exp((self._at - clock.monotonic()) / FADE_S)
        return min(1.0, self._errors / self._calls) if self._calls * kept > 0.01 else 0.0

    def _count(self, errors: int) -> None:
        now = clock.monotonic()
        kept = exp((self._at - now) / FADE_S)
        self._calls = self._calls * kept + 1
        self._errors = self._errors * kept + errors
        self._at = now

    def _all(self) -> list[tuple[str, _Model]]:
        """A snapshot: the device thread adds and removes."""
        return list(self._models.copy().items())
