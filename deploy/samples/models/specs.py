"""Short ways to write the tensor declarations of a sample."""

from __future__ import annotations

from shared.manifest import TensorSpec, WarmupTensor

ANY = -1


def fp32(name: str, *shape: int) -> TensorSpec:
    return TensorSpec(name, "FP32", list(shape))


def int64(name: str, *shape: int) -> TensorSpec:
    return TensorSpec(name, "INT64", list(shape))


def int32(name: str, *shape: int) -> TensorSpec:
    return TensorSpec(name, "INT32", list(shape))


def zeros(*shape: int) -> WarmupTensor:
    return WarmupTensor(list(shape))
