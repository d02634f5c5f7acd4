"""The shapes with which a program may be called.

An exported graph is right only for inputs that fit what was assumed while it was traced: fixed
sizes, equal sizes, ranges and guards. Outside them it may return a wrong answer without an error,
so every new combination of shapes is checked, once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress

from shared.errors import Corrupt, InvalidInput
from worker.runtimes.dimensions import Dimension, dimensions, evaluate, symbols_of
from worker.runtimes.guards import Shapes, parse_guard
from worker.runtimes.program_schema import Program, Range, TensorMeta

MAX_GUARDS = 1000
MAX_REMEMBERED = 4096
# torch.export treats 0 and 1 as special cases: unless a size is declared as 1 or more, it writes a
# least size of 2, whether the module needs that or not. Its own runtime accepts smaller sizes then,
# and so do we: nearly every module treats one row like several. `push` notes it, and where it has
# the module it compares the answers.
SPECIALISED_MINIMUM = 2
NEAR = 17  # sizes above a requested one that are tried: multiples of 16 are among them


class ShapeRules:
    """Checks the shapes of all inputs together, in the order of `names`."""

    def __init__(self, program: Program, names: Sequence[str]) -> None:
        values = program.graph_module.graph.tensor_values
        self._metas = [values[name] for name in names]
        self._dimensions = {name: dimensions(values[name]) for name in names}
        self._ranges = program.range_constraints
        if len(program.guards_code) > MAX_GUARDS:
            raise Corrupt(f"program: {len(program.guards_code)} shape rules, over {MAX_GUARDS}")
        ranks = {name: len(dimensions) for name, dimensions in self._dimensions.items()}
        self._guards = [(text, parse_guard(text, ranks)) for text in program.guards_code]
        self._accepted: set[Shapes] = set()

    def check(self, shapes: Shapes) -> None:
        """InvalidInput naming input and rule, if the program was not exported for such shapes."""
        if shapes in self._accepted:
            return
        symbols: dict[str, int] = {}
        for (name, expected), shape in zip(self._dimensions.items(), shapes, strict=True):
            if len(shape) != len(expected):
                raise InvalidInput(f"input {name!r}: {len(shape)} dimensions, not {len(expected)}")
            for axis, (size, want) in enumerate(zip(shape, expected, strict=True)):
                self._check_size(f"input {name!r}: dimension {axis} is {size}", size, want, symbols)
        for text, holds in self._guards:
            if not holds(shapes):
                raise InvalidInput(f"shapes {shapes}: the model was exported for {_readable(text)}")
        if len(self._accepted) >= MAX_REMEMBERED:
            self._accepted.clear()
        self._accepted.add(shapes)

    def nearest(self, size: int, one_row: bool) -> list[list[int]] | None:
        """Shapes that the rules allow, free sizes as near to `size` as they can be (a little over
        it); with `one_row` the first of each input as near to 1. None if none was found."""
        symbols = {name for meta in self._metas for name in symbols_of(meta)}
        rows = {d[0] for d in self._dimensions.values() if d} if one_row else set()
        for tried in range(size, size + NEAR):
            values = {name: self._near(name, 1 if name in rows else tried) for name in symbols}
            shapes = tuple(evaluate(meta, values) or () for meta in self._metas)
            with suppress(InvalidInput):
                self.check(shapes)
                return [list(shape) for shape in shapes]
        return None

    def _near(self, symbol: str, size: int) -> int:
        allowed = self._ranges.get(symbol, Range())
        size = max(size, _least(allowed))
        return size if allowed.max_val is None else min(size, allowed.max_val)

    def _check_size(self, place: str, size: int, want: Dimension, symbols: dict[str, int]) -> None:
        if isinstance(want, int) and size != want:
            raise InvalidInput(f"{place}, the model takes {want}")
        if not isinstance(want, str):
            return
        if symbols.setdefault(want, size) != size:
            raise InvalidInput(f"{place}, another that must be equal to it is {symbols[want]}")
        allowed = self._ranges.get(want, Range())
        if size < _least(allowed):
            raise InvalidInput(f"{place}, the model takes {allowed.min_val} or more")
        if allowed.max_val is not None and size > allowed.max_val:
            raise InvalidInput(f"{place}, the model takes at most {allowed.max_val}")


def sizes(meta: TensorMeta) -> list[int]:
    """Sizes as in a manifest: -1 where they vary."""
    return [int(size["as_int"]) if "as_int" in size else -1 for size in meta.sizes]


def _least(allowed: Range) -> int:
    return 0 if allowed.min_val == SPECIALISED_MINIMUM else allowed.min_val or 0


def notes_on_minimum(program: Program, names: Sequence[str]) -> list[str]:
    """A note to the publisher on sizes of 1 that the export did not allow for."""
    values = program.graph_module.graph.tensor_values
    least = {
        symbol
        for symbol, allowed in program.range_constraints.items()
        if allowed.min_val == SPECIALISED_MINIMUM
    }
    found = [
        f"{name!r} dimension {axis}"
        for name in names
        for axis, want in enumerate(dimensions(values[name]))
        if want in least
    ]
    if not found:
        return []
    return [
        f"exported for sizes of 2 and more: {', '.join(found[:8])}. A size of 1 uses the "
        "same graph; if the module computes something else for 1, the answers differ: then export "
        "it with torch.export.Dim(..., min=1), or push it with --module"
    ]


def _readable(guard: str) -> str:
    return re.sub(r"L\['(\w+)'\]\.size\(\)", r"\1.shape", guard)
