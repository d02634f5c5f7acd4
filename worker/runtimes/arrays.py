"""numpy arrays of the protocol to torch tensors and back.

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
    """LoadFailed if a tensor of the manifest has a datatype that torch has no counterpart of."""
    for spec in specs:
        if spec.datatype not in dtypes.V2:
            raise LoadFailed(f"tensor {spec.name!r}: torch models take no {spec.datatype}")


def to_tensor(array: np.ndarray, datatype: str) -> Tensor:
    """A CPU tensor over the array's memory. What is read-only or strided is copied first: torch
    cannot keep a model from writing to its input, and the input may be a caller's message.
    """
    tensor = torch.from_numpy(np.require(array, requirements=("C", "W")))
    return tensor.view(torch.bfloat16) if datatype == "BF16" else tensor


def to_array(tensor: Tensor, spec: TensorSpec) -> np.ndarray:
    """A C-contiguous array over the CPU tensor's memory; WrongOutput if it is of another type."""
    if tensor.dtype != dtypes.V2[spec.datatype]:
        raise WrongOutput(f"output {spec.name!r} is {tensor.dtype}, not {spec.datatype}")
    dense = tensor.contiguous().resolve_conj().resolve_neg()
    array: np.ndarray = (dense.view(torch.uint16) if spec.datatype == "BF16" else dense).numpy()
    return array


def flatten(outputs: Any, specs: Sequence[TensorSpec]) -> list[Tensor]:
    """What a model returned (a tensor, a dict by name, nested tuples or lists) in the specs' order;
    WrongOutput if count or kind is not what the manifest says.
    """
    if isinstance(outputs, Mapping):
        outputs = [_named(outputs, spec.name) for spec in specs]
    found = list(_leaves(outputs))
    if len(found) != len(specs):
        raise WrongOutput(f"the model gave {len(found)} outputs, the manifest names {len(specs)}")
    for leaf, spec in zip(found, specs, strict=True):
        if not isinstance(leaf, Tensor):
            raise WrongOutput(f"output {spec.name!r} is no tensor but {type(leaf).__name__}")
    return found


def _named(outputs: Mapping[str, Any], name: str) -> Any:
    if name not in outputs:
        raise WrongOutput(f"the model gave no output {name!r}")
    return outputs[name]


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, (tuple, list)):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]
