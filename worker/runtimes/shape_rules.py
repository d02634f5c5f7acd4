"""The shapes a program may be called with.

An exported graph is right only for inputs that fit what was assumed while it was traced: fixed
sizes, equal sizes, ranges and guards. Outside them it may give a wrong answer without an error, so
every new combination of shapes is checked, once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress

from shared.errors import Corrupt, InvalidInput
from worker.runtimes.guards import Shapes, parse_guard
from worker.runtimes.program_schema import Program, Range, TensorMeta

SYMBOL = re.compile(r"Symbol\('(\w+)'[^()]*\)")
MAX_GUARDS = 1000
MAX_REMEMBERED = 4096
NEAR = 17  # sizes over a wanted one that are tried: multiples of 16 are among them
# Exports specialise on sizes 0 and 1, so a lower bound of 2 says nothing about the model.
TRIVIAL_MINIMUM = 2

Dimension = int | str | None  # a fixed size, a symbol's name, or an expression (guards cover it)


class ShapeRules:
    """Checks the shapes of all inputs together, in the order of `names`."""

    def __init__(self, program: Program, names: Sequence[str]) -> None:
        values = program.graph_module.graph.tensor_values
        self._dimensions = {name: _dimensions(values[name]) for name in names}
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
        for (name, wanted), shape in zip(self._dimensions.items(), shapes, strict=True):
            if len(shape) != len(wanted):
                raise InvalidInput(f"input {name!r}: {len(shape)} dimensions, not {len(wanted)}")
            for axis, (size, want) in enumerate(zip(shape, wanted, strict=True)):
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
        for tried in range(size, size + NEAR):
            shapes = tuple(
                tuple(
                    self._allowed(want, 1 if one_row and axis == 0 else tried)
                    for axis, want in enumerate(dimensions)
                )
                for dimensions in self._dimensions.values()
            )
            with suppress(InvalidInput):
                self.check(shapes)
                return [list(shape) for shape in shapes]
        return None

    def _allowed(self, want: Dimension, size: int) -> int:
        if isinstance(want, int):
            return want
        allowed = self._ranges.get(want or "", Range())
        least = max(size, allowed.min_val or 0) if size > 1 else self._least(allowed)
        return least if allowed.max_val is None else min(least, allowed.max_val)

    @staticmethod
    def _least(allowed: Range) -> int:
        return 1 if (allowed.min_val or 0) <= TRIVIAL_MINIMUM else int(allowed.min_val or 0)

    def _check_size(self, place: str, size: int, want: Dimension, symbols: dict[str, int]) -> None:
        if isinstance(want, int) and size != want:
            raise InvalidInput(f"{place}, the model takes {want}")
        if not isinstance(want, str):
            return
        if symbols.setdefault(want, size) != size:
            raise InvalidInput(f"{place}, but another that must be equal is {symbols[want]}")
        allowed = self._ranges.get(want, Range())
        if (allowed.min_val or 0) > max(size, TRIVIAL_MINIMUM):
            raise InvalidInput(f"{place}, the model takes {allowed.min_val} or more")
        if allowed.max_val is not None and size > allowed.max_val:
            raise InvalidInput(f"{place}, the model takes at most {allowed.max_val}")


def sizes(meta: TensorMeta) -> list[int]:
    """Sizes as a manifest says them: -1 where they vary."""
    return [int(size["as_int"]) if "as_int" in size else -1 for size in meta.sizes]


def _dimensions(meta: TensorMeta) -> list[Dimension]:
    return [
        int(size["as_int"]) if "as_int" in size else _symbol(str(size["as_expr"]["expr_str"]))
        for size in meta.sizes
    ]


def _symbol(expression: str) -> str | None:
    match = SYMBOL.fullmatch(expression)
    return match[1] if match else None


def _readable(guard: str) -> str:
    return re.sub(r"L\['(\w+)'\]\.size\(\)", r"\1.shape", guard)
