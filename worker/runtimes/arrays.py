"""Arrays of the V2 protocol (numpy) to torch tensors and back.

BF16 is 16 raw bits in numpy and bfloat16 in torch. Nothing is copied unless it must be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shared.errors import LoadFailed
from shared.manifest import TensorSpec
from worker.runtimes import dtypes
from worker.runtimes.failures import WrongOutput


def check_specs(specs: Sequence[TensorSpec]) -> None:
    """LoadFailed if a tensor of the manifest has a datatype that torch does not have."""
    for spec in specs:
        if spec.datatype not in dtypes.V2:
            raise LoadFailed(f"tensor {spec.name!r}: a torch model cannot take {spec.datatype}")


def to_tensor(array: np.ndarray, datatype: str, copy: bool = False) -> Tensor:
    """A CPU tensor over the array's memory. A read-only or strided array is copied first: torch
    cannot keep a model from writing to its input, and the input may be a caller's message. `copy`:
    the model may write to it, and after a failure the same arrays are used again."""
    dense = array.copy(order="C") if copy else np.require(array, requirements=("C", "W"))
    tensor = torch.from_numpy(dense)
    return tensor.view(torch.bfloat16) if datatype == "BF16" else tensor


def to_array(tensor: Tensor, spec: TensorSpec) -> np.ndarray:
    """A C-contiguous array over the CPU tensor's memory; WrongOutput if it has another dtype."""
    if tensor.dtype != dtypes.V2[spec.datatype]:
        raise WrongOutput(f"output {spec.name!r} is {tensor.dtype}, not {spec.datatype}")
    dense = tensor.contiguous().resolve_conj().resolve_neg()
    array: np.ndarray = (dense.view(torch.uint16) if spec.datatype == "BF16" else dense).numpy()
    return array


def flatten(outputs: Any, specs: Sequence[TensorSpec]) -> list[Tensor]:
    """The tensors that a model returned (a tensor, or dicts, NamedTuples, tuples and lists of them)
    in the order of `specs`: by name where it returned keys, else by position. WrongOutput if their
    number or kind is not what the manifest says."""
    if isinstance(outputs, Tensor) and len(specs) == 1:
        return [outputs]
    leaves = named_leaves(outputs)
    by_name = any(name is not None for name, _ in leaves)
    found = _by_name(leaves, specs) if by_name else [leaf for _, leaf in leaves]
    if len(found) > len(specs):
        found = [leaf for leaf in found if leaf is not None]
    if len(found) != len(specs):
        raise WrongOutput(
            f"the model returned {len(found)} outputs, the manifest names {len(specs)}"
        )
    for leaf, spec in zip(found, specs, strict=True):
        if not isinstance(leaf, Tensor):
            raise WrongOutput(f"output {spec.name!r} is not a tensor but {type(leaf).__name__}")
    return found


def named_leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[str | None, Any]]:
    """The leaves of what a model returned, with names made of the keys and fields that lead to them
    (`boxes`, `heads.0`); a leaf that only has positions has no name."""
    if (children := children_of(value)) is not None:
        return [leaf for key, child in children for leaf in named_leaves(child, (*path, key))]
    named = any(isinstance(key, str) for key in path)
    return [(".".join(map(str, path)) if named else None, value)]


def children_of(value: Any) -> list[tuple[str | int, Any]] | None:
    """Keys and values of a dict or NamedTuple, positions and values of a tuple or list; None for
    any other value."""
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(zip(value._fields, value, strict=True))
    return list(enumerate(value)) if isinstance(value, (tuple, list)) else None


def _by_name(leaves: list[tuple[str | None, Any]], specs: Sequence[TensorSpec]) -> list[Any]:
    found = {name or f"output_{place}": leaf for place, (name, leaf) in enumerate(leaves)}
    for spec in specs:
        if spec.name not in found:
            raise WrongOutput(
                f"the model returned no output {spec.name!r}, it returned {list(found)[:20]}"
            )
    return [found[spec.name] for spec in specs]
