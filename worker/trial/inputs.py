"""Inputs to warm a model up with: the manifest's own, else made up, in the order to try them.

Only what the manifest gives decides whether a model may be served. What is made up (sizes of free
dimensions, zeros) may be nothing that the model takes, so there are several.
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
from worker.trial.rows import FLOATS, Arrays, from_floats

SIZES = (2, 16, 32, 224, 1)  # of free dimensions: export knows 2 best, an image has 32 or 224
MOST_ELEMENTS = 1 << 22  # of an input that is made up
TEXTS = (b"", b"0", b"a")


class Candidate(NamedTuple):
    """Inputs, and whether the manifest gives all of them. `sized`: whether sizes besides the batch
    were made up too, so that sizes of the outputs say nothing."""

    inputs: Arrays
    given: bool
    sized: bool = False


def candidates(
    manifest: Manifest, allowed: Callable[[Sequence[int]], Sequence[Sequence[int]] | None]
) -> Iterator[Candidate]:
    """What to try, best first. What may be left out is left out, unless the manifest gives it: a
    value made up for it could break the model. `allowed(sizes)` are the shapes, one per input, that
    the program's own rules allow and that come nearest to `sizes` for its free dimensions; None: it
    has no rules. ValueError or OverflowError if the manifest's own are no tensors."""
    warmup = manifest.warmup[0] if manifest.warmup else {}
    names = _given_names(manifest, warmup)
    if warmup and all(name in warmup for name in names):
        told = [spec for spec in manifest.inputs if spec.name in names]
        yield Candidate({s.name: given(s, warmup[s.name]) for s in told}, given=True)
        return
    seen: set[tuple[tuple[int, ...], ...]] = set()
    for size in SIZES:
        shapes = allowed([size]) or _shapes(manifest, size)
        form = tuple(tuple(shape) for shape in shapes)
        if form in seen or max(math.prod(shape) for shape in form) > MOST_ELEMENTS:
            continue
        seen.add(form)
        sized = any(-1 in spec.shape[_batched(manifest) :] for spec in manifest.inputs)
        for turn in range(len(TEXTS)):
            made = _filled(manifest, names, form, turn, warmup)
            yield Candidate(made, given=False, sized=sized)


def tried_names(manifest: Manifest) -> frozenset[str] | None:
    """The inputs that `candidates` gives, None if none of the model's may be left out. That rows do
    not know of each other is proved for requests with these inputs and no others."""
    if not any(spec.optional for spec in manifest.inputs):
        return None
    return frozenset(_given_names(manifest, manifest.warmup[0] if manifest.warmup else {}))


def _given_names(manifest: Manifest, warmup: dict[str, WarmupTensor]) -> list[str]:
    told = [spec.name for spec in manifest.inputs if spec.name in warmup]
    needed = [spec.name for spec in manifest.inputs if not spec.optional and spec.name not in told]
    if told and not needed:
        return told
    # A program that needs none of its inputs is given all of them: no call is without any.
    return [*told, *needed] if needed else [spec.name for spec in manifest.inputs]


def given(spec: TensorSpec, tensor: WarmupTensor) -> np.ndarray:
    """An input as the manifest gives it: raw bytes, values, or zeros. ValueError, OverflowError or
    InvalidInput if it is no tensor of this datatype and shape."""
    shape = tensor.shape
    if tensor.raw is not None:
        try:
            data = base64.b64decode(tensor.raw, validate=True)
        except binascii.Error as error:
            raise ValueError(f"input {spec.name!r}: raw is no base64: {error}") from error
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
    """An array as the manifest keeps it, bit by bit."""
    raw = batch_tensors.pack(spec, array).data
    return WarmupTensor(list(array.shape), raw=base64.b64encode(raw).decode())


def _batched(manifest: Manifest) -> int:
    """How many of an input's dimensions are the batch: 1 or 0."""
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
    """Zeros, then ones, then halves (of integers: ones again)."""
    if spec.datatype == datatypes.BYTES:
        return np.full(shape, TEXTS[turn], dtype=object)
    value = (0.0, 1.0, 0.5)[turn] if spec.datatype in FLOATS else float(turn > 0)
    if spec.datatype in FLOATS:
        return from_floats(np.full(shape, value), spec.datatype)
    return np.full(shape, value).astype(datatypes.NUMPY[spec.datatype])
