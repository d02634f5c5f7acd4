"""The operators a program may call: torch's own tensor library and arithmetic on sizes.

The names come from a file, so they are matched against fixed forms and never looked up freely:
what `torch.` leads to by attribute access includes the operating system.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from typing import Any

import torch
from torch._ops import OpOverload

from shared.errors import Corrupt

ATEN = re.compile(r"torch\.ops\.aten\.([A-Za-z0-9_]{1,80})\.([A-Za-z0-9_]{1,80})")
# Reads a file that an argument names.
REFUSED = frozenset({"from_file"})
# Numbers computed from sizes.
SYMBOLIC: dict[str, Callable[..., Any]] = {
    "_operator.eq": operator.eq,
    "_operator.ne": operator.ne,
    "_operator.le": operator.le,
    "_operator.ge": operator.ge,
    "_operator.lt": operator.lt,
    "_operator.gt": operator.gt,
    "_operator.neg": operator.neg,
    "_operator.pos": operator.pos,
    "_operator.mul": operator.mul,
    "_operator.add": operator.add,
    "_operator.sub": operator.sub,
    "_operator.floordiv": operator.floordiv,
    "_operator.truediv": operator.truediv,
    "_operator.mod": operator.mod,
    "_operator.pow": operator.pow,
    "_operator.and_": operator.and_,
    "_operator.or_": operator.or_,
    "_operator.lshift": operator.lshift,
    "_operator.rshift": operator.rshift,
    "math.trunc": math.trunc,
    "torch.sym_not": torch.sym_not,
    "torch.sym_int": torch.sym_int,
    "torch.sym_float": torch.sym_float,
    "torch.sym_max": torch.sym_max,
    "torch.sym_min": torch.sym_min,
    "torch.sym_ite": torch.sym_ite,
    "torch._sym_sqrt": torch.sym_sqrt,
}
# Outside training these return their input unchanged, which their schema does not show.
RETURN_THEIR_INPUT = frozenset(
    {
        torch.ops.aten.dropout.default,
        torch.ops.aten.alpha_dropout.default,
        torch.ops.aten.feature_dropout.default,
    }
)
# Calls that take graphs: a branch, and regions that torch.no_grad and torch.autocast leave behind.
REGIONS = frozenset(
    f"torch.ops.higher_order.{name}"
    for name in ("cond", "wrap_with_autocast", "wrap_with_set_grad_enabled")
)


AUTOCAST = "torch.ops.higher_order.wrap_with_autocast"
# Kernels of libraries for CPUs, by their names: a build of torch without CUDA does not say which
# operators a GPU has.
_OF_CPUS = re.compile(r"torch\.ops\.aten\.\w*?(?:_for_cpu|_cpu_fallback|mkldnn|fbgemm)\w*\.\w+")


def only_on_cpus(name: str) -> bool:
    """Whether the operator called `name` in a program exists on CPUs only."""
    return _OF_CPUS.fullmatch(name) is not None


def find(name: str) -> Callable[..., Any]:
    """The operator called `name` in a program; Corrupt if a program may not call it."""
    if name in SYMBOLIC:
        return SYMBOLIC[name]
    if (match := ATEN.fullmatch(name)) is not None and match[1] not in REFUSED:
        found = getattr(getattr(torch.ops.aten, match[1], None), match[2], None)
        if isinstance(found, OpOverload):
            return found
    if name in REGIONS:
        region: Callable[..., Any] = getattr(torch.ops.higher_order, name.rpartition(".")[2])
        return region
    raise Corrupt(
        f"program: operator {name[:120]!r} is not supported: push the model as TorchScript or ONNX"
    )


def written(op: Callable[..., Any]) -> frozenset[str]:
    """Names of the arguments that `op` writes to."""
    return frozenset(arg.name for arg in _aliased(op) if arg.alias_info.is_write)


def viewed(op: Callable[..., Any]) -> frozenset[str]:
    """Names of the arguments that a result of `op` may share memory with."""
    if op in RETURN_THEIR_INPUT:
        return frozenset({"input"})
    return frozenset(arg.name for arg in _aliased(op))


def _aliased(op: Callable[..., Any]) -> list[Any]:
    if not isinstance(op, OpOverload):
        return []
    return [arg for arg in op._schema.arguments if arg.alias_info is not None]
