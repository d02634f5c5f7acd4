"""`push --example in.npz`: real inputs, which become the manifest's warm-up.

With them a worker warms the model up and tries whether its rows may share a batch, and so does push
itself. The size of a manifest is limited, so of many rows the first few are kept, and of inputs
that are too large only the shapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deploy.cli.errors import WrongUse
from shared import datatypes
from shared.manifest import TensorSpec, WarmupTensor
from worker.trial.inputs import as_given

Arrays = dict[str, np.ndarray[Any, Any]]

MAX_ROWS = 8
MAX_BYTES = 600 << 10  # of all inputs; in base64 they are a third more, and a manifest has 1 MiB


class Example(NamedTuple):
    """The warm-up of a manifest. `shapes_only`: the inputs were too large for it."""

    warmup: list[dict[str, WarmupTensor]]
    shapes_only: bool = False


def read_example(path: Path | None) -> Arrays | None:
    """The arrays of an .npz file by name; WrongUse if it is not one."""
    if path is None:
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = dict(arrays)
        if not all(isinstance(array, np.ndarray) for array in found.values()):
            raise ValueError("a member is not an .npy file")  # numpy gives its bytes
        return found
    except Exception as error:  # of the zip, of zlib, of a header's text, of sizes made up
        raise WrongUse(f"{path}: want an .npz file with one array per input") from error


def example_of(
    arrays: Mapping[str, np.ndarray[Any, Any]], specs: Sequence[TensorSpec], batched: bool
) -> Example:
    """`arrays` as the warm-up of a model with inputs `specs`; WrongUse if an array does not have
    its input's datatype or shape, or if an input is missing."""
    names = [spec.name for spec in specs]
    for name in arrays:
        if name not in names:
            raise WrongUse(f"--example: {name!r} is not an input, the model takes {names}")
    given = {spec.name: _checked(spec, arrays) for spec in specs if _is_given(spec, arrays)}
    if batched:
        given = _first_rows(given)
    size = sum(_size(array) for array in given.values())
    if size > MAX_BYTES:
        return Example([{n: WarmupTensor(list(a.shape)) for n, a in given.items()}], True)
    return Example([{s.name: as_given(s, given[s.name]) for s in specs if s.name in given}])


def _is_given(spec: TensorSpec, arrays: Mapping[str, np.ndarray[Any, Any]]) -> bool:
    return spec.name in arrays or not spec.optional


def _checked(spec: TensorSpec, arrays: Mapping[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    if spec.name not in arrays:
        raise WrongUse(f"--example: input {spec.name!r} is missing, the file has {sorted(arrays)}")
    given = arrays[spec.name]
    array = _as(spec.datatype, given)
    fits = given.ndim == len(spec.shape) and all(
        want in (-1, have) for have, want in zip(given.shape, spec.shape, strict=True)
    )
    if array is None or not fits:
        raise WrongUse(
            f"--example: {spec.name!r} is {given.dtype} {list(given.shape)}, the model takes "
            f"{spec.datatype} {spec.shape}"
        )
    return array


def _as(datatype: str, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    """The array as the V2 protocol carries it; None if it is of another datatype. BYTES are arrays
    of texts or bytes, BF16 its 16 bits (uint16, or what numpy saves of a bfloat16)."""
    if datatype == datatypes.BYTES:
        if array.dtype.kind not in "US":
            return None
        texts = np.empty(array.shape, dtype=object)
        items = [t.encode() if isinstance(t, str) else bytes(t) for t in array.ravel().tolist()]
        texts.reshape(-1)[:] = items
        return texts
    expected = datatypes.NUMPY[datatype]
    if datatype == "BF16" and array.dtype.kind == "V" and array.dtype.itemsize == 2:
        return array.view("<u2")
    return array.astype(expected) if array.dtype.newbyteorder("<") == expected else None


def _first_rows(given: Arrays) -> Arrays:
    """As many rows as fit, the same number of each input."""
    counts = {name: len(array) for name, array in given.items()}
    if len(set(counts.values())) != 1 or 0 in counts.values():
        raise WrongUse(
            f"--example: with --max-batch each input needs the same number of rows, not {counts}"
        )
    rows = min(MAX_ROWS, *counts.values())
    while rows > 1 and sum(_size(array[:rows]) for array in given.values()) > MAX_BYTES:
        rows -= 1
    return {name: array[:rows] for name, array in given.items()}


def _size(array: np.ndarray[Any, Any]) -> int:
    if array.dtype == object:
        return sum(len(text) + 4 for text in array.reshape(-1))
    return int(array.nbytes)
