"""Whether a size of 1 may be served: torch.export does not say, so the module is run to find out.

An export is valid for sizes of 2 and more, unless it was declared otherwise. For each size that
varies, the module and its graph are run with a size of 1. Where the results are equal, 1 is
allowed; where they differ, the program gets a rule against it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import torch
from torch import Tensor

from shared.errors import WarmrouteError
from worker.packaging.program import Draft
from worker.runtimes.dimensions import Dimension, dimensions, symbols_of
from worker.runtimes.program_schema import Program
from worker.runtimes.shape_rules import SPECIALISED_MINIMUM

Ask = Callable[[Sequence[Tensor]], list[Tensor]]


def settle_single_rows(draft: Draft, ask: Ask, example: Sequence[Tensor]) -> Draft:
    """The draft with a least size of 1 where the module (`ask`: its results for flat inputs) and
    the graph agree, one size at a time and all together, and with a rule against it where they do
    not. `example`: inputs that both accept."""
    names = draft.loaded.names
    metas = [draft.program.graph_module.graph.tensor_values[name] for name in names]
    places = [dimensions(meta) for meta in metas]
    computed = {
        symbol
        for meta, dims in zip(metas, places, strict=True)
        if None in dims
        for symbol in symbols_of(meta)
    }
    candidates = [
        symbol
        for symbol, allowed in draft.program.range_constraints.items()
        if allowed.min_val == SPECIALISED_MINIMUM
        and symbol not in computed
        and any(symbol in dims for dims in places)
    ]
    if not candidates:
        return draft
    ranks = _ranks(ask([tensor.clone() for tensor in example]))

    def agree(symbols: set[str]) -> bool:
        return _agree(draft, ask, _cut(example, places, symbols), symbols, ranks)

    proved = {one for one in candidates if agree({one})}
    if len(proved) > 1 and not agree(proved):
        proved = set()
    against = _rules_against(names, places, set(candidates) - proved)
    return draft.with_program(_allowing(draft.program, set(candidates), against))


def _ranks(answer: Sequence[Tensor]) -> list[int]:
    return [tensor.dim() for tensor in answer]


def _agree(
    draft: Draft, ask: Ask, inputs: list[Tensor], symbols: set[str], ranks: list[int]
) -> bool:
    """Whether both return the same, with as many dimensions as for other sizes: a manifest has one
    number of dimensions only."""
    forward = draft.with_program(_allowing(draft.program, symbols, [])).bind()
    try:
        with torch.inference_mode():
            want = ask([tensor.clone() for tensor in inputs])
            got = [leaf for leaf in _flat(forward([t.clone() for t in inputs])) if leaf is not None]
        torch.testing.assert_close(got, want, equal_nan=True)
        return _ranks(want) == ranks
    except (WarmrouteError, AssertionError):
        return False
    except Exception:  # the module may refuse one row with any exception
        return False


def _cut(
    example: Sequence[Tensor], places: Sequence[Sequence[Dimension]], symbols: set[str]
) -> list[Tensor]:
    """The example with each of these sizes cut down to 1."""
    cut = []
    for tensor, dims in zip(example, places, strict=True):
        for axis, want in enumerate(dims):
            tensor = tensor.narrow(axis, 0, 1) if want in symbols else tensor
        cut.append(tensor.contiguous())
    return cut


def _rules_against(
    names: Sequence[str], places: Sequence[Sequence[Dimension]], symbols: set[str]
) -> list[str]:
    """A rule for each of these sizes, at its first place."""
    rules: dict[str, str] = {}
    for name, dims in zip(names, places, strict=True):
        for axis, want in enumerate(dims):
            if isinstance(want, str) and want in symbols:
                rules.setdefault(want, f"L['{name}'].size()[{axis}] >= 2")
    return list(rules.values())


def _allowing(program: Program, symbols: set[str], rules: list[str]) -> Program:
    ranges = {
        name: msgspec.structs.replace(allowed, min_val=1) if name in symbols else allowed
        for name, allowed in program.range_constraints.items()
    }
    guards = [*program.guards_code, *rules]
    return msgspec.structs.replace(program, range_constraints=ranges, guards_code=guards)


def _flat(answer: Any) -> tuple[Any, ...]:
    return answer if isinstance(answer, tuple) else (answer,)
