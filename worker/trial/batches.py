"""The trial of batches: whether rows may share a call, and whether that saves time. Bounded."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from shared.errors import WarmrouteError
from shared.manifest import Manifest
from worker.device.base import DeviceOutOfMemory
from worker.runtimes.base import LoadedModel
from worker.trial import rows as trial_rows
from worker.trial.independence import NotSteady, mixing
from worker.trial.rows import Arrays, Range

TRIAL_BATCH = 8
TRIAL_S = 0.1  # the device serves no request during a trial: no call of it should take longer,
LONGEST_S = 0.3  # but for a batch of two, or a slow first call would forbid batches for good
PROOF_S = 0.05  # for what the proof asks beyond the calls that are timed anyway
FIRST_CALLS = 3  # an interpreter optimises in the second and third of all: the best is timed
PATIENT_S = 5.0  # instead of both where no request waits
PAYS_BELOW = 0.9  # a batch of n must take less than this of n calls
SQUARE = 16  # a batch may be as large as a row is long: a model that confuses the two shows then
ENOUGH = 4  # rows: a model that passes with so many is assumed to pass with more, until the guard
# has checked a larger batch; a smaller trial, of a slow model, allows no more than it has tried
OTHERS = (2, 3, 5, 4, 6, 7)  # rows: the most frequent sizes are tried too, if there is time
INDEPENDENT = "independent"  # a finding: no row of a batch changes the answer to another
UNPROVED = "no different rows are known that the model takes: give some with push --example"
UNSTEADY = "it is not deterministic, so nothing could be proved: "


class Interrupted(Exception):
    """The device has something else to do."""


class Found(NamedTuple):
    """`finding`: INDEPENDENT, or why rows may not share a call; '' if time was too short to decide:
    then they may, up to `most` rows. `pays`: whether batches take clearly less time than requests
    one by one, None if that was not measured."""

    finding: str
    pays: bool | None
    most: int = 1


class _Timed:
    """Calls of a model, the shortest by number of rows, and all of them together."""

    def __init__(self, model: LoadedModel, go_on: Callable[[], bool]) -> None:
        self._model = model
        self._go_on = go_on
        self.best: dict[int, float] = {}
        self.spent = 0.0

    def run(self, inputs: Arrays) -> Arrays:
        if not self._go_on():
            raise Interrupted
        started = time.perf_counter()
        outputs = self._model.run(inputs)
        took = time.perf_counter() - started
        rows = len(next(iter(inputs.values())))
        self.best[rows] = min(took, self.best.get(rows, took))
        self.spent += took
        return outputs

    def estimate(self, rows: int) -> float:
        """Seconds for a call of `rows`: no more than for a larger call, or for each row alone."""
        larger = [took for size, took in self.best.items() if size >= rows]
        return min([*larger, rows * self.best[1]])


def try_batches(
    manifest: Manifest, model: LoadedModel, inputs: Arrays, known: str = "", *,
    patient: bool = False, go_on: Callable[[], bool] = lambda: True,
) -> Found:  # fmt: skip
    """Try whether rows of the model may share a call, with variations of `inputs` ([n, ...] each),
    which the model takes. `known`: an earlier finding. `patient`: no request waits for the device,
    so a slow model is tried too. Interrupted as soon as `go_on()` is False."""
    timed, most = _Timed(model, go_on), manifest.batching.max_size
    try:
        one = {name: array[:1] for name, array in inputs.items()}
        for number in range(FIRST_CALLS):
            if number < 2 or LONGEST_S / 2 < timed.best[1] < LONGEST_S:
                timed.run({name: array.copy() for name, array in one.items()})
        alone = timed.best[1]
        if 2 * alone > LONGEST_S and not patient:
            return Found(known, False)  # a call this long fills the device by itself
        size = min(TRIAL_BATCH, most, _largest(alone, PATIENT_S if patient else TRIAL_S))
        if not patient:
            size = max((s for s in _square(most, inputs) if ENOUGH <= s <= size), default=size)
        if known:
            _time(timed, one, size)
        else:
            known, most = _proved(manifest, timed, inputs, size, PATIENT_S if patient else PROOF_S)
        if known not in ("", INDEPENDENT):
            return Found(known, None)
        return Found(known, timed.best[size] < PAYS_BELOW * size * alone, most)
    except WarmrouteError:  # or DeviceOutOfMemory: single requests work
        return Found(known, False)


def fill(model: LoadedModel, inputs: Arrays, most: int) -> int:
    """Run batches of more and more rows, up to `most`, as long as the next one should not take too
    long: kernels and plans of a GPU are chosen by size, and made when a size runs for the first
    time. `inputs`: as of `try_batches`. The rows that may share a call: fewer than `most` if the
    model fails with more."""
    rows = TRIAL_BATCH
    while rows < most:
        before, rows = rows, min(2 * rows, most)
        started = time.perf_counter()
        try:
            model.run({name: np.concatenate([array[:1]] * rows) for name, array in inputs.items()})
        except DeviceOutOfMemory:
            break  # at this moment
        except WarmrouteError:
            return before
        if 2 * (time.perf_counter() - started) > LONGEST_S:
            break
    return most


def _largest(alone: float, most_s: float) -> int:
    """The number of rows to try at once if a call of one row takes `alone` seconds."""
    return max(2, int(most_s / alone), min(ENOUGH, int(LONGEST_S / alone)))


def _time(timed: _Timed, one: Arrays, size: int) -> None:
    for _ in range(3):
        timed.run({name: np.concatenate([array] * size) for name, array in one.items()})


def _proved(
    manifest: Manifest, timed: _Timed, inputs: Arrays, size: int, most_s: float
) -> tuple[str, int]:
    """The finding, as in `Found`, and how many rows may share a call."""
    needed = _sizes(manifest, inputs, size)
    sizes = list(dict.fromkeys([*needed, *(other for other in OTHERS if other <= needed[0])]))
    budget = most_s + timed.spent + 3 * size * timed.best[1]

    def more(size: int, calls: int) -> bool:
        return timed.spent + calls * timed.estimate(size) < budget

    for of in Range:
        made = trial_rows.made(manifest.inputs, inputs, 2 * max(sizes), of)
        if len({trial_rows.key(row) for row in made}) < 2:
            continue
        try:
            proof = mixing(timed.run, manifest.outputs, made, sizes, more)
        except NotSteady as error:
            return UNSTEADY + str(error), 1
        except DeviceOutOfMemory:
            raise
        except WarmrouteError:
            continue  # rows that it does not take
        return (proof.reason, 1) if proof.reason else _allowed(manifest, needed, proof.tried)
    return UNPROVED, 1


def _allowed(manifest: Manifest, needed: list[int], tried: Sequence[int]) -> tuple[str, int]:
    """Sizes that were not tried for lack of time are not allowed."""
    left_out = [size for size in needed if size not in tried and size <= TRIAL_BATCH]
    if not left_out and max(tried) >= min(ENOUGH, manifest.batching.max_size):
        return INDEPENDENT, manifest.batching.max_size
    return "", min([*(size - 1 for size in left_out), max(tried)])


def _sizes(manifest: Manifest, inputs: Arrays, first: int) -> list[int]:
    """Sizes of batches to try, the timed one first: a model that mixes rows does so at any size,
    or where a batch is as large as a row is long."""
    return list(dict.fromkeys([first, *_square(manifest.batching.max_size, inputs)]))


def _square(most: int, inputs: Arrays) -> list[int]:
    sizes = {size for array in inputs.values() for size in array.shape[1:]}
    return sorted(size for size in sizes if 2 < size <= min(SQUARE, most))
