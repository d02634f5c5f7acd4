"""Proves that the rows of a batch are independent: no row changes the answer to another.

    alone:    a row gives the same answer again (else nothing can be decided), and one row gives one
    mates:    the same answer in a batch of the same size, at the same place, beside other rows
    together: the same answer as alone, but for rounding; also beside a copy of the row

A model that computes over the batch (a mean, a sort, a scale of all rows, a first dimension that is
time) fails `mates`; one that depends on the batch's size or drops rows fails `together`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from shared.errors import ModelFailed, WarmrouteError
from shared.manifest import TensorSpec
from worker.trial.compare import EXACT, ROUNDED, distance, is_exact
from worker.trial.rows import Arrays

Run = Callable[[Arrays], Arrays]
More = Callable[[int, int], bool]
NOISE = 4.0  # times what two equal calls differ by


class NotSteady(Exception):
    """Two calls with the same row gave different answers."""


class Trial:
    """Calls of one model with some of `rows` ([1, ...] each), and their outputs by row."""

    def __init__(self, run: Run, outputs: Sequence[TensorSpec], rows: Sequence[Arrays]) -> None:
        self._run = run
        self._specs = outputs
        self._rows = rows
        self._alone: dict[int, list[np.ndarray]] = {}
        self._noise = 1.0  # what counts as the same, in units of EXACT

    def steady(self) -> str:
        """Measure how much two calls with the first row differ. NotSteady if by more than rounding;
        else the reason why one row does not give one row, or ''."""
        first, why = self._outputs([0])
        if why:
            return why
        again, _ = self._outputs([0])
        self._alone[0] = first
        for spec, one, other in zip(self._specs, first, again, strict=True):
            if distance(one, other, spec.datatype, ROUNDED) > (0 if is_exact(spec.datatype) else 1):
                raise NotSteady(f"output {spec.name!r}: two runs of one input differ")
            noise = NOISE * distance(one, other, spec.datatype, EXACT)
            self._noise = max(self._noise, noise)
        return ""

    def mates(self, places: Sequence[int], others: Sequence[int]) -> str:
        """Why the rows at `places` depend on their mates, '' if they do not: first the odd places,
        then the even ones are replaced by `others`. A batch that fails is a reason too."""
        whole, why = self._together(places)
        for parity in (0, 1):
            if why:
                break
            mixed = [
                p if number % 2 == parity else o
                for number, (p, o) in enumerate(zip(places, others, strict=True))
            ]
            changed, why = self._together(mixed)
            kept = range(parity, len(places), 2)
            why = why or self._same(whole, changed, kept, len(places))
        if why:
            self._check_steady(places, whole)
        return why

    def second_of_pair(self) -> str:
        """Why row 1 depends on whether the first or the last row precedes it, '' if it does not."""
        whole, why = self._together([0, 1])
        if not why:
            changed, why = self._together([len(self._rows) - 1, 1])
        return why or self._same(whole, changed, [1], 2)

    def together(self, places: Sequence[int], checked: Sequence[int]) -> tuple[str, bool]:
        """Why the rows at the `checked` of `places` give other answers together than alone, '' if
        they do not; and whether only integers differ, so that it may be a near tie."""
        whole, why = self._together(places)
        if why:
            return why, False
        doubt = ""
        for number in checked:
            alone, why = self._one(places[number])
            if why:
                return why, False
            for spec, one, all_rows in zip(self._specs, alone, whole, strict=True):
                row = all_rows[number : number + 1]
                if distance(one, row, spec.datatype, ROUNDED) <= 1:
                    continue
                why = (
                    f"output {spec.name!r}: a row gives another answer in a batch of "
                    f"{len(places)} than alone"
                )
                if not is_exact(spec.datatype):
                    self._check_steady(places, whole)
                    return why, False
                doubt = why
        if doubt:
            self._check_steady(places, whole)
        return doubt, bool(doubt)

    def _check_steady(self, places: Sequence[int], whole: list[np.ndarray]) -> None:
        """NotSteady if the same batch gives other answers now: one row shows too little chance."""
        if not whole:
            return
        again, _ = self._together(places)
        for spec, one, other in zip(self._specs, whole, again, strict=False):
            if distance(one, other, spec.datatype, ROUNDED) > (0 if is_exact(spec.datatype) else 1):
                raise NotSteady(f"output {spec.name!r}: two runs of one batch differ")

    def _one(self, row: int) -> tuple[list[np.ndarray], str]:
        if row not in self._alone:
            outputs, why = self._outputs([row])
            if why:
                return outputs, why
            self._alone[row] = outputs
        return self._alone[row], ""

    def _together(self, rows: Sequence[int]) -> tuple[list[np.ndarray], str]:
        try:
            return self._outputs(rows)
        except WarmrouteError as error:
            for row in dict.fromkeys(rows):  # does the batch fail, or one of its rows?
                self._one(row)
            return [], f"a batch of {len(rows)} fails, its rows alone do not: {error.message}"

    def _outputs(self, rows: Sequence[int]) -> tuple[list[np.ndarray], str]:
        """The outputs [len(rows), ...] of one call; else [] and the reason why they do not have as
        many rows. The arrays are copies: a model may write to its input, or return a view of it."""
        given = {
            name: np.concatenate([self._rows[row][name] for row in rows]) for name in self._rows[0]
        }
        answer = self._run(given)
        found = []
        for spec in self._specs:
            array = answer.get(spec.name)
            if array is None:
                raise ModelFailed(f"output {spec.name!r} is missing, the model gave {list(answer)}")
            if array.ndim == 0 or array.shape[0] != len(rows):
                shape = list(array.shape)
                return [], f"output {spec.name!r}: shape {shape} for {len(rows)} rows of input"
            found.append(array.copy())
        return found, ""

    def _same(
        self, one: list[np.ndarray], other: list[np.ndarray], kept: Sequence[int], size: int
    ) -> str:
        for spec, before, after in zip(self._specs, one, other, strict=True):
            for row in kept:
                apart = distance(
                    before[row : row + 1], after[row : row + 1], spec.datatype, EXACT
                )  # row by row, as the scale of one is not that of another
                if apart > (0 if is_exact(spec.datatype) else self._noise):
                    return (
                        f"output {spec.name!r}: a row's answer depends on the other rows of its "
                        f"batch (of {size})"
                    )
        return ""


class Proof(NamedTuple):
    """`reason`: why rows may not share a call, or ''. `tried`: the sizes of the tried batches."""

    reason: str
    tried: Sequence[int] = ()


def mixing(
    run: Run, outputs: Sequence[TensorSpec], rows: Sequence[Arrays], sizes: Sequence[int],
    more: More = lambda size, calls: True,
) -> Proof:  # fmt: skip
    """Whether rows may share a call of the model. `rows` ([1, ...] each): at least twice as many as
    the largest of `sizes`. The first size is always tried, each other one if `more(size, calls)`:
    whether there is time for so many calls of that size.

    WarmrouteError if the model fails on a row alone: try other rows. NotSteady.
    """
    trial = Trial(run, outputs, rows)
    if why := trial.steady():
        return Proof(why)
    doubt = ""  # of a near tie; a second one proves a difference
    tried: list[int] = []
    for number, size in enumerate(sizes):
        if number and not more(size, 3):
            continue
        tried.append(size)
        if why := trial.mates(range(size), range(size, 2 * size)):
            return Proof(why, tried)
        why, near_tie = trial.together(range(size), _checked(size, more))
        if why and (doubt or not near_tie):
            return Proof(why, tried)
        doubt = why if number == 0 or not doubt else ""
    if more(3, 1) or doubt:
        why, near_tie = trial.together([0, 1, 0], range(3))  # for models that drop duplicates
        if why and (doubt or not near_tie):
            return Proof(why, tried)
    return Proof("", tried)


def _checked(size: int, more: More) -> list[int]:
    """The places whose rows are compared with their answers alone: all, if there is time."""
    return [place for place in range(size) if place < 2 or more(1, 1)]
