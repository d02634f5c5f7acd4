"""Whether the rows of a model may share a call, and whether that pays, in a bounded time."""

from __future__ import annotations

import time

import numpy as np

from shared.errors import WarmrouteError
from shared.manifest import Manifest
from worker.device.base import DeviceOutOfMemory
from worker.runtimes.base import LoadedModel
from worker.trial import rows as trial_rows
from worker.trial.independence import NotSteady, mixing, small_check
from worker.trial.rows import Arrays, Range

TRIAL_BATCH = 8
TRIAL_S = 0.1  # the device serves nobody else during a trial: no call of it should take longer,
LONGEST_S = 0.3  # but for a batch of two, or a slow first call would forbid batches for good
PROOF_S = 0.05  # for what the proof asks beyond the calls that are timed anyway
PAYS_BELOW = 0.9  # a batch of n must take less than this of n calls
SQUARE = 16  # a batch may be as large as a row is long: what looks at its size shows then
INDEPENDENT = "independent"  # as a finding: the rows of a batch do not know of each other
UNPROVED = "no different rows are known that the model takes: give some with push --example"
UNSTEADY = "it is not deterministic, so nothing could be proved: "


class _Timed:
    """Calls of a model, the shortest by number of rows, and all of them together."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self.best: dict[int, float] = {}
        self.spent = 0.0

    def run(self, inputs: Arrays) -> Arrays:
        begun = time.perf_counter()
        outputs = self._model.run(inputs)
        took = time.perf_counter() - begun
        rows = len(next(iter(inputs.values())))
        self.best[rows] = min(took, self.best.get(rows, took))
        self.spent += took
        return outputs


def try_batches(
    manifest: Manifest, model: LoadedModel, inputs: Arrays, known: str = ""
) -> tuple[str, bool | None]:
    """What was found of the model's rows (see `Ready`), and whether batches take clearly less time
    than requests one by one, None if that was not measured. `inputs` are some that it takes."""
    timed = _Timed(model)
    try:
        one = {name: array[:1] for name, array in inputs.items()}
        for _ in range(2):
            timed.run({name: array.copy() for name, array in one.items()})
        alone = timed.best[1]
        if 2 * alone > LONGEST_S:
            return known, False  # a call this long fills the device by itself
        size = min(TRIAL_BATCH, manifest.batching.max_size, max(2, int(TRIAL_S / alone)))
        finding = known or _proved(manifest, timed, inputs, size)
        if finding != INDEPENDENT:
            return finding, None
        if known:
            many = {name: np.concatenate([array] * size) for name, array in one.items()}
            for _ in range(3):
                timed.run({name: array.copy() for name, array in many.items()})
        return finding, timed.best[size] < PAYS_BELOW * size * timed.best[1]
    except DeviceOutOfMemory:
        return known, False  # single requests work
    except WarmrouteError:
        return known, False


def _proved(manifest: Manifest, timed: _Timed, inputs: Arrays, size: int) -> str:
    """INDEPENDENT, or why rows may not share a call."""
    sizes = _sizes(manifest, inputs, size)
    budget = PROOF_S + timed.spent + 3 * size * timed.best[1]

    def more(rows: int) -> bool:
        return timed.spent + rows * timed.best[1] < budget

    for of in Range:
        made = trial_rows.made(manifest.inputs, inputs, 2 * max(sizes), of)
        if len({trial_rows.key(row) for row in made}) < 2:
            continue
        try:
            return mixing(timed.run, manifest.outputs, made, sizes, more) or INDEPENDENT
        except NotSteady as error:
            return UNSTEADY + str(error)
        except DeviceOutOfMemory:
            raise
        except WarmrouteError:
            continue  # rows that it does not take
    return UNPROVED


def still_independent(manifest: Manifest, model: LoadedModel, inputs: Arrays) -> bool:
    """Whether a few calls of a variant of a proved program found nothing against batches."""
    made = trial_rows.made(manifest.inputs, inputs, 4, Range.WIDE)
    if len({trial_rows.key(row) for row in made}) < len(made):
        return False
    try:
        return not small_check(model.run, manifest.outputs, made)
    except WarmrouteError:
        return False


def _sizes(manifest: Manifest, inputs: Arrays, largest: int) -> list[int]:
    """Sizes of batches to try, the one that is timed first."""
    most = min(SQUARE, manifest.batching.max_size)
    square = {size for array in inputs.values() for size in array.shape[1:] if 2 < size <= most}
    rest = sorted({2, 3, *square} - {largest})
    return [largest, *(size for size in rest if size <= most)]
