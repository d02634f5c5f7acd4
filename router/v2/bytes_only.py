"""A body of bytes only: one tensor, no JSON (Triton's binary tensor extension, header length 0).

Such a model has one input. Of its shape one size at most may be free: the number of bytes says it.
Beside another free size the batch is 1. A BYTES tensor is one element, the whole body.
"""

from __future__ import annotations

import math

from router.v2 import tensors
from shared import datatypes
from shared.envelope import Tensor
from shared.errors import InvalidInput
from shared.manifest import Manifest, TensorSpec
from shared.tensor_bytes import pack_bytes

ONLY = "a body of bytes only (Inference-Header-Content-Length: 0)"
WAY_OUT = "describe it in JSON, and give the length of that in the header"


def read(body: bytes, manifest: Manifest) -> Tensor:
    """The only input of the model; InvalidInput if the bytes alone do not say what they are."""
    if len(manifest.inputs) != 1:
        names = [spec.name for spec in manifest.inputs]
        raise InvalidInput(
            f"body: {ONLY} is for models of one input, {manifest.name} has {names}: {WAY_OUT}"
        )
    spec = manifest.inputs[0]
    if spec.datatype == datatypes.BYTES:
        return _text(body, spec)
    shape = _shape(len(body), spec, batched=manifest.batching.max_size > 1)
    field = f"inputs[{spec.name!r}]: {ONLY}"
    count = tensors.element_count(shape, field)
    tensors.check_binary(memoryview(body), spec.datatype, count, field)
    return Tensor(spec.name, spec.datatype, shape, memoryview(body))


def _text(body: bytes, spec: TensorSpec) -> Tensor:
    shape = [1 if size < 0 else size for size in spec.shape]
    if math.prod(shape) != 1:
        raise InvalidInput(
            f"inputs[{spec.name!r}].shape: {spec.shape}, {ONLY} is one element of BYTES: {WAY_OUT}"
        )
    return Tensor(spec.name, spec.datatype, shape, memoryview(pack_bytes([body])))


def _shape(held: int, spec: TensorSpec, *, batched: bool) -> list[int]:
    shape = list(spec.shape)
    if batched and shape.count(-1) == 2:
        shape[0] = 1
    if -1 not in shape:
        return shape
    each = datatypes.item_size(spec.datatype) * math.prod(size for size in shape if size >= 0)
    if shape.count(-1) > 1 or each == 0:
        raise InvalidInput(
            f"inputs[{spec.name!r}].shape: {spec.shape}, {ONLY} does not say which it is: {WAY_OUT}"
        )
    if held % each:
        raise InvalidInput(
            f"inputs[{spec.name!r}]: {ONLY} of {held} bytes, want a multiple of {each} for "
            f"{spec.datatype} of shape {shape}"
        )
    shape[shape.index(-1)] = held // each
    return shape
