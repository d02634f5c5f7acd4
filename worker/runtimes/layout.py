"""Memory layout of weights: a safetensors file is row-major, a weight need not be.

A weight in another order (channels_last convolutions, transposed matrices) is stored with its
dimensions in the order they have in memory, and seen through `permute` when it is attached. So
kernels take the same path as at the publisher's, and nothing is copied.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def memory_order(shape: Sequence[int], strides: Sequence[int]) -> list[int]:
    """Dimensions from the slowest to the fastest in memory; the given order if the tensor is not
    dense (expanded or cut out), which is then stored row by row.
    """
    order = sorted(range(len(shape)), key=lambda axis: (-strides[axis], axis))
    expected = 1
    for axis in reversed(order):
        if shape[axis] != 1 and strides[axis] != expected:
            return list(range(len(shape)))
        expected *= shape[axis]
    return order


def to_stored(tensor: Tensor, strides: Sequence[int]) -> Tensor:
    """The row-major tensor to store for `tensor`, which a program knows with `strides`."""
    return tensor.permute(memory_order(tensor.shape, strides)).contiguous()


def from_stored(stored: Tensor, shape: Sequence[int], strides: Sequence[int]) -> Tensor | None:
    """The view of `stored` that a program knows with `shape` and `strides`; None if it has another
    shape."""
    order = memory_order(shape, strides)
    if list(stored.shape) != [shape[axis] for axis in order]:
        return None
    inverse = sorted(range(len(order)), key=order.__getitem__)
    return stored.permute(inverse)
