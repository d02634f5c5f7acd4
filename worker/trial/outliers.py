"""The effect of an outlier on the rows beside it in a batch.

A model may search its whole batch for one value (NaN, an infinity, the id of a token), which no row
near the example has. Such rows are put beside an ordinary one. A row that the model refuses alone
shows nothing. Outliers may hold indices out of range, which on a GPU end the process: so this runs
on a CPU only, where the time for it is available (`warmroute push`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from shared import datatypes
from shared.errors import WarmrouteError
from shared.manifest import TensorSpec
from worker.trial import rows as trial_rows
from worker.trial.independence import Run, Trial
from worker.trial.rows import FLOATS, HUGE, Arrays, Range

MOST_S = 2.0
NUMBERS = (float("nan"), float("inf"), float("-inf"), HUGE, -HUGE)
VOCABULARIES = (10, 100, 1000, 50_000)  # integers below these, a few rows of each
TURNS = 4
MARKS = (-1, -100)  # integers that stand for a missing value
TEXTS = (b"", b"one two three four five six seven", b"x" * 300, "\N{GRINNING FACE}".encode())


def disturbed(run: Run, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec],
              example: Arrays) -> str:  # fmt: skip
    """The reason why rows may not share a call, '' if no outlier has changed the answer of the row
    beside it. Blocks for about two seconds at most."""
    until = time.perf_counter() + MOST_S
    for of in (Range.WIDE, Range.NEAR):
        first, second = trial_rows.made(inputs, example, 2, of)
        try:
            for row in (first, second):
                run({name: array.copy() for name, array in row.items()})
        except WarmrouteError:
            continue  # ordinary rows that it does not take
        return _disturbs(run, outputs, [first, second], _outliers(inputs, first), until)
    return ""


def _disturbs(
    run: Run, outputs: Sequence[TensorSpec], pair: list[Arrays], outliers: Iterator[Arrays],
    until: float,
) -> str:  # fmt: skip
    for outlier in outliers:
        if time.perf_counter() > until:
            break
        try:
            if why := Trial(run, outputs, [*pair, outlier]).second_of_pair():
                return why
        except WarmrouteError:
            continue
    return ""


def _outliers(specs: Sequence[TensorSpec], row: Arrays) -> Iterator[Arrays]:
    """Rows that differ from `row` in all inputs of one kind."""
    kinds = {spec.name: _kind(spec.datatype) for spec in specs if spec.name in row}
    for kind in dict.fromkeys(kinds.values()):
        for change in CHANGES[kind]:
            yield {
                name: change(array, _datatype(specs, name)) if kinds[name] == kind else array
                for name, array in row.items()
            }


def _datatype(specs: Sequence[TensorSpec], name: str) -> str:
    return next(spec.datatype for spec in specs if spec.name == name)


def _kind(datatype: str) -> str:
    if datatype in FLOATS:
        return "float"
    return {datatypes.BYTES: "text", "BOOL": "bool"}.get(datatype, "integer")


Change = Callable[[np.ndarray, str], np.ndarray]


def _every_second(value: float) -> Change:
    def change(array: np.ndarray, datatype: str) -> np.ndarray:
        changed = array.copy()
        changed.reshape(-1)[::2] = trial_rows.from_floats(np.array([value]), datatype)
        return changed

    return change


def _counted(below: int, turn: int) -> Change:
    def change(array: np.ndarray, datatype: str) -> np.ndarray:
        most = min(below, int(np.iinfo(array.dtype).max))
        step = max(1, most // (TURNS * max(1, array.size)))
        numbers = (np.arange(array.size) + turn * array.size) * step % most
        return numbers.astype(array.dtype).reshape(array.shape)

    return change


def _full(value: object) -> Change:
    def change(array: np.ndarray, datatype: str) -> np.ndarray:
        changed = np.empty(array.shape, dtype=array.dtype)
        changed.fill(value)
        return changed

    return change


def _marked(value: int) -> Change:
    return lambda array, datatype: np.full(array.shape, value).astype(array.dtype)


CHANGES: dict[str, list[Change]] = {
    "float": [_every_second(number) for number in NUMBERS],
    "integer": [
        *(_counted(below, turn) for below in VOCABULARIES for turn in range(TURNS)),
        *(_marked(mark) for mark in MARKS),
    ],
    "bool": [_full(True), _full(False)],
    "text": [_full(text) for text in TEXTS],
}
