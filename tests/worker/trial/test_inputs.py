"""Inputs to warm a model up with: those of the manifest, else some that are made up."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from shared import ranges
from shared.manifest import Batching, Manifest, TensorSpec, WarmupTensor
from tests.helpers.factories import manifest, spec
from worker.serving.batch_tensors import Arrays
from worker.trial import rows
from worker.trial.inputs import as_given, candidates, given, tried_names

ALONE, BATCHED = Batching(), Batching(max_size=8)
IMAGE = [spec("x", "FP32", [-1, 3, -1, -1])]


def made_up(made: Manifest) -> list[Arrays]:
    return [each.inputs for each in candidates(made, lambda sizes: None)]


def test_a_batched_model_is_shown_one_row_of_each_size() -> None:
    """Zeros first; then ones, then halves."""
    tried = made_up(manifest(inputs=IMAGE, batching=BATCHED))
    assert [each["x"].shape for each in tried[::3]] == [
        (1, 3, size, size) for size in (2, 16, 32, 224, 1)
    ]
    assert [each["x"].max() for each in tried[:3]] == [0, 1, 0.5]


@pytest.mark.parametrize(
    ("datatype", "values"),
    [
        ("INT64", [0, 1, 1]), ("BOOL", [False, True, True]), ("BYTES", [b"", b"0", b"a"]),
        ("BF16", [0, 0x3F80, 0x3F00]), ("FP16", [0, 1, 0.5]),
    ],
)  # fmt: skip
def test_each_datatype_has_values_of_its_own(datatype: str, values: list[object]) -> None:
    """Integers are no halves, and texts are some that are numbers."""
    tried = made_up(manifest(inputs=[spec("x", datatype, [2])], batching=ALONE))
    assert [each["x"].tolist()[0] for each in tried] == values


def test_what_may_be_left_out_is_left_out() -> None:
    """A value made up for it could break the model; one that the manifest gives is used."""
    scale = TensorSpec("scale", "FP32", [1], optional=True)
    assert {tuple(each) for each in made_up(manifest(inputs=[spec("x"), scale]))} == {("x",)}
    assert {tuple(each) for each in made_up(manifest(inputs=[scale]))} == {("scale",)}
    told = manifest(inputs=[spec("x"), scale], warmup=[{"scale": WarmupTensor([1], [2.0])}])
    assert all(each["scale"].tolist() == [2.0] for each in made_up(told))
    whole = manifest(inputs=[spec("x"), scale], warmup=[{"x": WarmupTensor([2, 2])}])
    assert [each.given for each in candidates(whole, lambda sizes: None)] == [True]


def test_the_names_of_what_is_tried_are_known_before() -> None:
    """Of a model whose inputs are all needed they are no question."""
    x, scale, bias = spec("x"), *(TensorSpec(n, "FP32", [1], optional=True) for n in ("s", "b"))
    assert tried_names(manifest(inputs=[x])) is None
    given = WarmupTensor([1], [2.0])
    for inputs in ([x, scale], [scale, bias], [scale, x, bias]):
        for names in ([], ["x"], ["s"], ["x", "s"], ["b"], ["x", "s", "b"]):
            warmup = {name: given for name in names if name != "x"}
            warmup |= {"x": WarmupTensor([2, 2])} if "x" in names else {}
            made = manifest(inputs=inputs, warmup=[warmup] if warmup else [])
            for each in made_up(made):
                assert tried_names(made) == set(each)


def test_what_is_too_large_to_be_made_up_is_left_out() -> None:
    """Free sizes of 224 in four places are no image."""
    tried = made_up(manifest(inputs=[spec("x", "FP32", [-1] * 4)], batching=ALONE))
    assert {each["x"].shape[0] for each in tried} == {2, 16, 32, 1}


def test_the_first_warm_up_inputs_of_the_manifest_are_used() -> None:
    """In their shape; those without values are zeros."""
    made = manifest(
        inputs=[spec("x", "FP32", [-1, 2]), spec("t", "BYTES", [-1]), spec("z", "FP32", [-1])],
        warmup=[
            {
                "x": WarmupTensor([2, 2], [1, 2, 3, 4]), "t": WarmupTensor([2], ["a", "ä"]),
                "z": WarmupTensor([1]),
            },
            {"x": WarmupTensor([9, 2])},
        ],
    )  # fmt: skip
    (inputs,) = made_up(made)
    assert inputs["x"].tolist() == [[1, 2], [3, 4]]
    assert inputs["t"].tolist() == [b"a", "ä".encode()]
    assert inputs["z"].tolist() == [0]


@pytest.mark.parametrize(
    ("datatype", "array"),
    [
        ("INT64", np.array([[2**63 - 1, -(2**63)]])),
        ("UINT64", np.array([2**64 - 1], "<u8")),
        ("FP32", np.array([np.nan, np.inf, -0.0, 1e-40], "<f4")),
        ("FP16", np.array([65504, np.nan], "<f2")),
        ("BF16", np.array([0x7FC0, 0x3F80], "<u2")),
        ("BOOL", np.array([[True], [False]])),
        ("FP32", np.zeros((0, 3), "<f4")),
        ("FP64", np.array(1.5)),
        ("BYTES", np.array([b"", b"\xff\x00", b"a"], object)),
        ("BYTES", np.zeros((0,), object)),
    ],
)
def test_any_array_comes_back_from_a_manifest_as_it_was(datatype: str, array: np.ndarray) -> None:
    """Bit by bit, whatever JSON could not say of it."""
    one = spec("x", datatype, [-1] * array.ndim)
    back = given(one, as_given(one, array))
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert back.tolist() == array.tolist() if datatype == "BYTES" else bits(back) == bits(array)


def bits(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode()


@pytest.mark.parametrize(("low", "high"), [(5, 9), (-9, -5), (0, 0), (7, None), (None, -1)])
def test_what_is_made_up_stays_within_the_range_of_the_input(
    low: int | None, high: int | None
) -> None:
    """A value beyond it could end the process: the first ones, and the rows made of them."""
    one = TensorSpec("i", "INT64", [-1, 3], minimum=low, maximum=high)
    made = manifest(inputs=[one])
    for candidate in candidates(made, lambda sizes: None):
        ranges.check_array(candidate.inputs["i"], one, "i")
        for row in rows.made([one], candidate.inputs, 12, rows.Range.WIDE):
            ranges.check_array(row["i"], one, "i")
