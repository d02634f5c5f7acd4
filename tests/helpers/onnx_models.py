"""Small ONNX models, made by hand: what exporters write, and what goes wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT
Shape = Sequence[int | str | None] | None


def value(name: str, shape: Shape, kind: int = FLOAT) -> onnx.ValueInfoProto:
    """An input or output; a shape of None has no rank, () is a scalar."""
    return helper.make_tensor_value_info(name, kind, shape)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: Sequence[TensorProto] = (),
    *,
    opset: int = 17,
    ir_version: int = 9,
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    """A model of one graph."""
    graph = helper.make_graph(list(nodes), "g", list(inputs), list(outputs), list(weights))
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)


def identity(shape: Shape, out: Shape | str = "same", **options: int) -> onnx.ModelProto:
    """`y` is `x`."""
    given = shape if out == "same" else out
    node = helper.make_node("Identity", ["x"], ["y"])
    return model([node], [value("x", shape)], [value("y", given)], **options)  # type: ignore[arg-type]


def scaled() -> onnx.ModelProto:
    """`y` is `x` times `scale`, an input with the default 3."""
    default = numpy_helper.from_array(np.array([3], np.float32), "scale")
    node = helper.make_node("Mul", ["x", "scale"], ["y"])
    ends = [value("x", ["n"]), value("scale", [1])]
    return model([node], ends, [value("y", ["n"])], [default])


def squares() -> onnx.ModelProto:
    """`y` is `x` plus its transpose, which fails unless the sizes that it calls `h` are equal."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        helper.make_node("Add", ["x", "t"], ["y"]),
    ]
    return model(nodes, [value("x", ["n", "h", "h"])], [value("y", ["n", "h", "h"])])


def pointing_to(location: str, size: int = 16, name: str = "w", **more: str) -> TensorProto:
    """A weight of `size` bytes that lies in another file."""
    tensor = TensorProto(name=name, data_type=FLOAT, dims=[size // 4])
    tensor.data_location = TensorProto.EXTERNAL
    for key, told in {"location": location, "length": str(size), **more}.items():
        tensor.external_data.add(key=key, value=told)
    return tensor


def adding(weight: TensorProto) -> onnx.ModelProto:
    """`y` is `x` plus the weight."""
    node = helper.make_node("Add", ["x", weight.name], ["y"])
    size = list(weight.dims)
    return model([node], [value("x", size)], [value("y", size)], [weight])


def save(made: onnx.ModelProto, path: Path) -> Path:
    """Written as it is, without a check."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(made.SerializeToString())
    return path
