"""Tensors of a batch: joined before the device call, split after it. Pure numpy.

The first dimension of every tensor is the batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shared import datatypes
from shared.envelope import Outcome, Tensor, Timing
from shared.errors import InvalidInput, ModelFailed
from shared.manifest import TensorSpec
from shared.tensor_bytes import pack_bytes, unpack_bytes
from worker.serving.queued_request import QueuedRequest

Arrays = dict[str, np.ndarray]


def to_array(tensor: Tensor) -> np.ndarray:
    """A view of the received bytes as an array; BYTES become an object array of bytes. InvalidInput
    if the bytes are not what datatype and shape say."""
    try:
        if tensor.datatype == datatypes.BYTES:
            array = np.empty(len(items := unpack_bytes(tensor.data)), dtype=object)
            array[:] = items
            return array.reshape(_sizes(tensor.shape))
        dtype = datatypes.NUMPY[tensor.datatype]
        return np.frombuffer(tensor.data, dtype=dtype).reshape(_sizes(tensor.shape))
    except (KeyError, ValueError, TypeError, OverflowError):
        raise InvalidInput(
            f"input {tensor.name[:80]!r}: {len(tensor.data)} bytes do not match "
            f"{tensor.datatype[:20]} of shape {tensor.shape[:16]}"
        ) from None


def _sizes(shape: list[int]) -> list[int]:
    """numpy would work out a -1 by itself."""
    if any(size < 0 for size in shape):
        raise ValueError("a negative size")
    return shape


def join(batch: Sequence[QueuedRequest]) -> Arrays:
    """The inputs of a batch by name: requests with inputs [n_i, ...] give arrays [sum(n_i), ...],
    in the order of the batch. The arrays of a lone request are views of what was received."""
    if len(batch) == 1:
        return {tensor.name: to_array(tensor) for tensor in batch[0].envelope.inputs}
    columns = zip(*(request.envelope.inputs for request in batch), strict=True)
    return {c[0].name: np.concatenate([to_array(t) for t in c]) for c in columns}


def split(
    outputs: Arrays,
    specs: Sequence[TensorSpec],
    batch: Sequence[QueuedRequest],
    timings: Sequence[Timing],
) -> list[Outcome]:
    """The outcome of each request: outputs [sum(n_i), ...] give tensors [n_i, ...], n_i being the
    number of its items. A lone request gets the outputs as they are, of any shape that `specs`
    allow. ModelFailed if an output is missing, or is not of its spec's datatype and shape."""
    chosen = batch[0].envelope.outputs
    requested = [spec for spec in specs if not chosen or spec.name in chosen]
    arrays = [(spec, _output(outputs, spec)) for spec in requested]
    if len(batch) > 1:
        total = sum(request.items for request in batch)
        for spec, array in arrays:
            if array.ndim == 0 or array.shape[0] != total:
                raise ModelFailed(
                    f"output {spec.name!r}: shape {array.shape} for a batch of {total}"
                )
    outcomes, at = [], 0
    for request, timing in zip(batch, timings, strict=True):
        end = at + request.items
        tensors = [pack(s, a if len(batch) == 1 else a[at:end]) for s, a in arrays]
        outcomes.append(Outcome(tensors, request.envelope.id, timing))
        at = end
    return outcomes


def _output(outputs: Arrays, spec: TensorSpec) -> np.ndarray:
    array = outputs.get(spec.name)
    if array is None:
        raise ModelFailed(f"the model gave no output {spec.name!r}")
    return array


def pack(spec: TensorSpec, array: np.ndarray) -> Tensor:
    """An output as it is sent; ModelFailed if it is not of the spec's datatype and shape."""
    _check_shape(spec, array.shape)
    if spec.datatype == datatypes.BYTES:
        data = pack_bytes(_as_bytes(item, spec) for item in array.reshape(-1))
    else:
        dtype = datatypes.NUMPY[spec.datatype]
        if array.dtype != dtype:
            raise ModelFailed(
                f"output {spec.name!r}: {array.dtype}, the manifest says {spec.datatype}"
            )
        data = array.tobytes()
    return Tensor(spec.name, spec.datatype, list(array.shape), memoryview(data))


def _check_shape(spec: TensorSpec, shape: tuple[int, ...]) -> None:
    """On the warm path: a loop is a third of what a generator takes."""
    fits = len(shape) == len(spec.shape)
    for have, want in zip(shape, spec.shape, strict=False):
        fits = fits and want in (have, -1)
    if not fits:
        raise ModelFailed(
            f"output {spec.name!r}: shape {list(shape)}, the manifest says {spec.shape}"
        )


def _as_bytes(item: object, spec: TensorSpec) -> bytes:
    raw = item.encode(errors="replace") if isinstance(item, str) else item
    if not isinstance(raw, bytes):
        raise ModelFailed(f"output {spec.name!r}: {type(item).__name__} among bytes and texts")
    return raw
