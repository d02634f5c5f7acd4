"""An ONNX model is described by its file; what the publisher says is compared, never dropped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from shared.errors import Corrupt, InvalidInput, LoadFailed, WarmrouteError
from shared.manifest import TensorSpec
from tests.helpers import onnx_models
from tests.helpers.onnx_models import identity, model, save, value
from worker.packaging.onnx import pack_onnx
from worker.packaging.result import Packed


def packed(made: object, tmp_path: Path, **given: dict[str, TensorSpec | None]) -> Packed:
    return pack_onnx(save(made, tmp_path / "m.onnx"), **given)  # type: ignore[arg-type]


def described(specs: list[TensorSpec]) -> list[tuple[str, list[int]]]:
    return [(spec.name, list(spec.shape)) for spec in specs]


def reshaping(rank: object) -> object:
    """`y` is `x` in a shape that only a request tells, so no rank can be inferred."""
    node = helper.make_node("Reshape", ["x", "s"], ["y"])
    ends = [value("x", ["n"]), value("s", ["r"], TensorProto.INT64)]
    return model([node], ends, [value("y", rank)])  # type: ignore[arg-type]


def test_a_rank_that_the_file_leaves_out_is_inferred(tmp_path: Path) -> None:
    """Of an output, from what the graph does with the inputs: also that it is a scalar."""
    assert described(packed(identity(["n"], None), tmp_path).outputs) == [("y", [-1])]
    node = helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)
    summed = model([node], [value("x", ["n"])], [value("y", None)])
    assert described(packed(summed, tmp_path).outputs) == [("y", [])]


def test_a_scalar_that_the_file_declares_is_one(tmp_path: Path) -> None:
    """onnxruntime tells the shape of a scalar as it tells one of unknown rank."""
    assert described(packed(identity([]), tmp_path).inputs) == [("x", [])]


def test_a_rank_that_is_nowhere_must_be_given(tmp_path: Path) -> None:
    """The refusal holds what to write; with it, that is the shape."""
    with pytest.raises(InvalidInput, match="--output y:FP32:"):
        packed(reshaping(None), tmp_path)
    with pytest.raises(InvalidInput, match="--input x:FP32:"):
        packed(identity(None), tmp_path)
    told = packed(reshaping(None), tmp_path, outputs={"y": TensorSpec("y", "FP32", [-1, -1])})
    assert described(told.outputs) == [("y", [-1, -1])]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (TensorSpec("x", "FP32", [-1, 4]), [-1, 4]),
        (TensorSpec("x", "FP32", [8, 4]), [8, 4]),
        (None, [-1, 4]),
    ],
)
def test_what_is_said_may_repeat_the_file_or_narrow_it(
    said: TensorSpec | None, kept: list[int], tmp_path: Path
) -> None:
    """A size that varies in the file can be held to one."""
    specs = packed(identity(["n", 4]), tmp_path, inputs={"x": said}).inputs
    assert described(specs) == [("x", kept)]


@pytest.mark.parametrize(
    "said",
    [
        TensorSpec("x", "FP64", [-1, 4]),
        TensorSpec("x", "FP32", [-1]),
        TensorSpec("x", "FP32", [-1, -1]),
        TensorSpec("x", "FP32", [-1, 5]),
        TensorSpec("x", "FP32", []),
        TensorSpec("z", "FP32", [-1, 4]),
    ],
)
@pytest.mark.parametrize("kind", ["inputs", "outputs"])
def test_what_is_said_and_is_not_so_is_refused(kind: str, said: TensorSpec, tmp_path: Path) -> None:
    """By name, with what the file has."""
    other = {"x": "y", "z": "z"}[said.name] if kind == "outputs" else said.name
    with pytest.raises(InvalidInput, match=f"'{other}'.*the file has"):
        packed(identity(["n", 4]), tmp_path, **{kind: {other: said}})


def zipmap() -> object:
    """Labels, and a map of probabilities for each row, as sklearn's converter writes it."""
    nodes = [
        helper.make_node("Identity", ["x"], ["label"]),
        helper.make_node(
            "ZipMap", ["x"], ["probability"], domain="ai.onnx.ml", classlabels_int64s=[0, 1]
        ),
    ]
    entry = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(1, []))
    maps = helper.make_value_info("probability", helper.make_sequence_type_proto(entry))
    ends = [value("label", ["n", 2]), maps]
    return model(nodes, [value("x", ["n", 2])], ends, domains=["ai.onnx.ml"])


def test_maps_are_refused_with_both_ways_out(tmp_path: Path) -> None:
    """How to convert without them, and which outputs can be served."""
    with pytest.raises(InvalidInput, match=r"'probability'.*zipmap.*--output label"):
        packed(zipmap(), tmp_path)
    chosen = packed(zipmap(), tmp_path, outputs={"label": None})
    assert described(chosen.outputs) == [("label", [-1, 2])]


def test_an_input_with_a_default_is_optional(tmp_path: Path) -> None:
    """It is published as such; naming the others leaves it out."""
    both = packed(onnx_models.scaled(), tmp_path)
    assert [(s.name, s.optional) for s in both.inputs] == [("x", False), ("scale", True)]
    only = packed(onnx_models.scaled(), tmp_path, inputs={"x": None})
    assert described(only.inputs) == [("x", [-1])]


def test_a_model_without_inputs_is_refused(tmp_path: Path) -> None:
    """A request for it could not be written."""
    constant = numpy_helper.from_array(np.ones(2, np.float32), "c")
    made = model([helper.make_node("Constant", [], ["y"], value=constant)], [], [value("y", [2])])
    with pytest.raises(InvalidInput, match="takes no input"):
        packed(made, tmp_path)


def test_an_export_that_lists_its_weights_as_inputs_is_packed(tmp_path: Path) -> None:
    """A manifest takes 256 inputs: then weights count as such only if they are named."""
    weights = [numpy_helper.from_array(np.zeros(1, np.float32), f"w{n}") for n in range(300)]
    nodes = [helper.make_node("Sum", ["x", *(w.name for w in weights)], ["y"])]
    ends = [value("x", ["n"]), *(value(w.name, [1]) for w in weights)]
    made = model(nodes, ends, [value("y", ["n"])], weights)
    assert described(packed(made, tmp_path).inputs) == [("x", [-1])]
    named = packed(made, tmp_path, inputs={"x": None, "w7": None})
    assert [(s.name, s.optional) for s in named.inputs] == [("x", False), ("w7", True)]


def erf_of_integers() -> object:
    ends = [value(name, ["n"], TensorProto.INT16) for name in "xy"]
    return model([helper.make_node("Erf", ["x"], ["y"])], ends[:1], ends[1:])


def of_domain(domain: str, *imported: str) -> object:
    node = helper.make_node("Own", ["x"], ["y"], domain=domain)
    return model([node], [value("x", ["n"])], [value("y", ["n"])], domains=imported)


@pytest.mark.parametrize(
    ("made", "named"),
    [
        (identity(["n"], ir_version=99), "IR version 99.*reads up to [0-9]+: save it"),
        (identity(["n"], opset=99), "opset 99 of ai.onnx.*offers up to [0-9]+: export it"),
        (of_domain("com.acme", "com.acme"), "operator com.acme:Own.*custom operators"),
        (of_domain("com.microsoft", "com.microsoft"), "operator com.microsoft:Own"),
        (of_domain(""), "operator Own is not in opset 17"),
        (of_domain("com.acme"), "operator Own.*'com.acme'"),
        (erf_of_integers(), "operator Erf.*int16"),
    ],
)
def test_what_onnxruntime_does_not_run_is_told_in_plain_words(
    made: object, named: str, tmp_path: Path
) -> None:
    """The operator or the version and the way out, and nothing of C++."""
    with pytest.raises(LoadFailed, match=named) as caught:
        packed(made, tmp_path)
    for foreign in ("::", "ONNXRuntimeError", "onnxruntime_src", str(tmp_path)):
        assert foreign not in caught.value.message


@pytest.mark.parametrize("size", [0, 1, 20, 60])
def test_a_file_that_is_cut_off_is_refused(size: int, tmp_path: Path) -> None:
    """At any place: as no model, or as one without its parts."""
    whole = onnx_models.scaled().SerializeToString()
    path = tmp_path / "m.onnx"
    path.write_bytes(whole[:size])
    with pytest.raises(WarmrouteError):
        pack_onnx(path)


def test_what_is_no_protobuf_is_named(tmp_path: Path) -> None:
    """Before onnxruntime sees it."""
    path = tmp_path / "m.onnx"
    path.write_bytes(b"not a model" * 10)
    with pytest.raises(Corrupt, match=r"m\.onnx: it is not an ONNX model"):
        pack_onnx(path)
