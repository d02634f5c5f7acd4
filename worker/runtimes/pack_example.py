"""What torch.export is shown of a module: example inputs, and which sizes may vary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from shared import datatypes
from shared.errors import Corrupt, InvalidInput
from shared.manifest import TensorSpec
from worker.runtimes.arrays import check_specs, to_tensor

# Export takes a size of 0 or 1 for a special case, so a varying one is shown as neither. Inputs
# that vary in the same place (ids and their mask) are shown with the same size there.
FIRST_SIZE, OTHER_SIZE = 2, 16


def example_inputs(
    specs: Sequence[TensorSpec], given: Mapping[str, np.ndarray[Any, Any]] | None = None
) -> tuple[Tensor, ...]:
    """Zeros as `specs` describe them, or the arrays `given` by name; InvalidInput if one of those
    does not fit. LoadFailed for a datatype that torch has not."""
    check_specs(specs)
    arrays = [_zeros(spec) if given is None else _checked(spec, given) for spec in specs]
    return tuple(to_tensor(a, s.datatype) for a, s in zip(arrays, specs, strict=True))


def varying_sizes(specs: Sequence[TensorSpec]) -> tuple[dict[int, Any], ...]:
    """torch.export's `dynamic_shapes`: it finds out itself which of them must be equal."""
    auto = torch.export.Dim.AUTO
    return tuple(
        {axis: auto for axis, size in enumerate(spec.shape) if size == -1} for spec in specs
    )


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Corrupt if it is none, InvalidInput if it is not there."""
    try:
        return load_file(path)
    except SafetensorError as error:
        raise Corrupt(f"{path.name}: {error}") from error
    except OSError as error:
        raise InvalidInput(f"{path.name}: {error.strerror or error}") from error


def _zeros(spec: TensorSpec) -> np.ndarray[Any, Any]:
    first, *rest = [*spec.shape, 0]
    sizes = [FIRST_SIZE if first == -1 else first]
    sizes += [OTHER_SIZE if size == -1 else size for size in rest]
    return np.zeros(sizes[: len(spec.shape)], datatypes.NUMPY[spec.datatype])


def _checked(spec: TensorSpec, given: Mapping[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    array = given.get(spec.name)
    if array is None:
        raise InvalidInput(f"the example has no input {spec.name!r}, it has {sorted(given)}")
    sizes = zip(array.shape, spec.shape, strict=False)
    fits = array.ndim == len(spec.shape) and all(want in (-1, size) for size, want in sizes)
    if not fits or array.dtype != datatypes.NUMPY[spec.datatype]:
        raise InvalidInput(
            f"the example's {spec.name!r} is {array.dtype} {list(array.shape)}, "
            f"not {spec.datatype} {spec.shape}"
        )
    return array
