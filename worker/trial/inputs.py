"""Inputs to warm up a model with: the manifest's, else generated ones, in the order to try them.

Only inputs of the manifest decide whether a model may be served. A model may refuse generated ones
(sizes of free dimensions, zeros), so there are several.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from shared import datatypes
from shared.envelope import Tensor
from shared.manifest import Manifest, TensorSpec, WarmupTensor
from worker.serving import batch_tensors
from worker.trial.rows import FLOATS, Arrays, from_floats, within

SIZES = (2, 16, 32, 224, 1)  # of free dimensions: torch.export uses 2, an image has 32 or 224
MAX_ELEMENTS = 1 << 22  # of a generated input
TEXTS = (b"", b"0", b"a")


class Candidate(NamedTuple):
    """Inputs by name. `given`: the manifest gives all of them. `sized`: sizes besides the batch are
    generated too, so that sizes of the outputs prove nothing."""

    inputs: Arrays
    given: bool
    sized: bool = False


def candidates(
    manifest: Manifest, allowed: Callable[[Sequence[int]], Sequence[Sequence[int]] | None]
) -> Iterator[Candidate]:
    """The inputs to try, best first. An optional input is left out unless the manifest gives it: a
    generated value could break the model. `allowed(sizes)`: the shapes, one per input, that the
    program's own rules allow and that come nearest to `sizes` for its free dimensions; None if it
    has no rules. ValueError or OverflowError if the manifest's inputs are not valid tensors."""
    warmup = manifest.warmup[0] if manifest.warmup else {}
    names = _given_names(manifest, warmup)
    if warmup and all(name in warmup for name in names):
        specs = [spec for spec in manifest.inputs if spec.name in names]
        yield Candidate({s.name: given(s, warmup[s.name]) for s in specs}, given=True)
        return
    seen: set[tuple[tuple[int, ...], ...]] = set()
    for size in SIZES:
        shapes = allowed([size]) or _shapes(manifest, size)
        form = tuple(tuple(shape) for shape in shapes)
        if form in seen or max(math.prod(shape) for shape in form) > MAX_ELEMENTS:
            continue
        seen.add(form)
        sized = any(-1 in spec.shape[_batched(manifest) :] for spec in manifest.inputs)
        for turn in range(len(TEXTS)):
            made = _filled(manifest, names, form, turn, warmup)
            yield Candidate(made, given=False, sized=sized)


def tried_names(manifest: Manifest) -> frozenset[str] | None:
    """The names of the inputs that `candidates` gives; None if no input of the model is optional.
    Rows are proved independent for requests with exactly these inputs."""
    if not any(spec.optional for spec in manifest.inputs):
        return None
    return frozenset(_given_names(manifest, manifest.warmup[0] if manifest.warmup else {}))


def _given_names(manifest: Manifest, warmup: dict[str, WarmupTensor]) -> list[str]:
    named = [spec.name for spec in manifest.inputs if spec.name in warmup]
    needed = [spec.name for spec in manifest.inputs if not spec.optional and spec.name not in named]
    if named and not needed:
        return named
    # A program whose inputs are all optional is given all of them: a call needs at least one.
    return [*named, *needed] if needed else [spec.name for spec in manifest.inputs]


def given(spec: TensorSpec, tensor: WarmupTensor) -> np.ndarray:
    """An input of the manifest as an array of its shape: from raw bytes, from values, or zeros.
    ValueError, OverflowError or InvalidInput if it does not match its datatype and shape."""
    shape = tensor.shape
    if tensor.raw is not None:
        try:
            data = base64.b64decode(tensor.raw, validate=True)
        except binascii.Error as error:
            raise ValueError(f"input {spec.name!r}: raw is not base64: {error}") from error
        return batch_tensors.to_array(Tensor(spec.name, spec.datatype, shape, memoryview(data)))
    if spec.datatype == datatypes.BYTES:
        values = [str(item).encode() for item in tensor.data or []]
        array = np.full(shape, b"", dtype=object)
        if values:
            array[...] = np.array(values, dtype=object).reshape(shape)
        return array
    dtype = datatypes.NUMPY[spec.datatype]
    if tensor.data is None:
        return np.zeros(shape, dtype=dtype)
    if spec.datatype == "BF16":
        return from_floats(np.array(tensor.data, dtype=np.float64), "BF16").reshape(shape)
    return np.array(tensor.data, dtype=dtype).reshape(shape)


def as_given(spec: TensorSpec, array: np.ndarray) -> WarmupTensor:
    """An array as an entry of the manifest, bit for bit."""
    raw = batch_tensors.pack(spec, array).data
    return WarmupTensor(list(array.shape), raw=base64.b64encode(raw).decode())


def _batched(manifest: Manifest) -> int:
    """1 if the first dimension of each input is the batch, else 0."""
    return int(manifest.batching.max_size > 1)


def _shapes(manifest: Manifest, size: int) -> list[list[int]]:
    first = _batched(manifest)
    return [
        [1 if axis < first else (size if dim == -1 else dim) for axis, dim in enumerate(s.shape)]
        for s in manifest.inputs
    ]


def _filled(
    manifest: Manifest, names: Sequence[str], shapes: Sequence[Sequence[int]], turn: int,
    warmup: dict[str, WarmupTensor],
) -> Arrays:  # fmt: skip
    return {
        spec.name: given(spec, warmup[spec.name]) if spec.name in warmup else _same(spec, s, turn)
        for spec, s in zip(manifest.inputs, shapes, strict=True)
        if spec.name in names
    }


def _same(spec: TensorSpec, shape: Sequence[int], turn: int) -> np.ndarray:
    """An array of zeros, then ones, then halves (ones again for integers), by `turn`."""
    if spec.datatype == datatypes.BYTES:
        return np.full(shape, TEXTS[turn], dtype=object)
    value = (0.0, 1.0, 0.5)[turn] if spec.datatype in FLOATS else float(turn > 0)
    if spec.datatype in FLOATS:
        return from_floats(np.full(shape, value), spec.datatype)
    inside = within(spec, int(value))
    return np.full(shape, inside).astype(datatypes.NUMPY[spec.datatype])
