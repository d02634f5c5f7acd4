"""An audit of one batch: the answer to a request in the batch against its answer alone.

A difference may come from the batch, from rounding, or from a model that is not deterministic. So a
request whose answers differ runs again: alone (is the answer steady?), and in a batch with other
mates (do they matter?).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import numpy as np

from shared.errors import WarmrouteError
from shared.manifest import TensorSpec
from worker.trial.compare import EXACT, ROUNDED, Tolerance, distance, is_exact

Answers = dict[str, np.ndarray]
Ask = Callable[[Sequence[int]], Awaitable[list[Answers]]]


class Found(NamedTuple):
    """`reason`: why the model may not be batched; if `unsteady`, why that cannot be decided. '' if
    nothing was found."""

    reason: str = ""
    unsteady: bool = False


class Audit:
    """Audits one batch. `answered`: the outputs of each request, in their order."""

    def __init__(self, outputs: Sequence[TensorSpec], answered: Sequence[Answers]) -> None:
        self._datatypes = {spec.name: spec.datatype for spec in outputs}
        self._answered = answered

    async def of(self, place: int, ask: Ask, even: bool) -> Found:
        """Audit the request at `place`. `ask(places)` runs requests of the batch in one call;
        `even`: all have the same number of rows. Errors of the model are findings, not raised."""
        was = self._answered[place]
        try:
            (alone,) = await ask([place])
        except WarmrouteError as error:
            return Found(f"a request that a batch has answered fails alone: {error.message}")
        name = self._differs(was, alone, ROUNDED)
        if not name:
            return Found()
        try:
            return await self._why(name, place, ask, even, alone)
        except WarmrouteError:
            return Found(f"output {name!r}: a request is answered otherwise in a batch than alone")

    async def _why(self, name: str, place: int, ask: Ask, even: bool, alone: Answers) -> Found:
        count = len(self._answered)
        (again,) = await ask([place])
        repeated = (await ask(range(count)))[place]
        was = self._answered[place]
        if self._differs(alone, again, ROUNDED) or self._differs(was, repeated, ROUNDED):
            return Found(f"output {name!r}: two runs of one input differ", unsteady=True)
        if even:
            beside_itself = (await ask([place] * count))[place]
            if self._differs(was, beside_itself, EXACT):
                return Found(f"output {name!r}: an answer depends on the other rows of its batch")
            if self._only_ties(was, alone):
                return Found()
        return Found(
            f"output {name!r}: a row gives another answer in a batch of {count} than alone"
        )

    def _differs(self, one: Answers, other: Answers, within: Tolerance) -> str:
        """The name of the first output that differs, '' if none does."""
        for name, array in one.items():
            datatype = self._datatypes[name]
            if distance(array, other[name], datatype, within) > 1:
                return name
        return ""

    def _only_ties(self, one: Answers, other: Answers) -> bool:
        """Whether only integers of the same shape differ: near ties of an argmax, as the mates were
        shown not to matter."""
        return all(
            one[name].shape == other[name].shape
            for name, datatype in self._datatypes.items()
            if name in one and is_exact(datatype)
        ) and not any(
            distance(one[name], other[name], datatype, ROUNDED) > 1
            for name, datatype in self._datatypes.items()
            if name in one and not is_exact(datatype)
        )
