"""Warm-up and trial of a new copy."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from shared.errors import LoadFailed, ModelFailed
from shared.manifest import Batching, Manifest, TensorSpec, WarmupTensor
from tests.helpers.factories import file_entry, manifest, spec
from worker.loading.warmup import TRIAL_BATCH, Warmup, check_outputs, inputs_of, program_key
from worker.tensors import Arrays

PROGRAM = [file_entry("program.json", "p"), file_entry("weights/0.safetensors", "a")]
ALONE = Batching(max_size=1)


class Model:
    """A model that notes its calls. By default `y` is `x`, and a call takes as long as told."""

    bytes_resident = 0
    shared: dict[str, int] = {}  # noqa: RUF012 - never changed

    def __init__(
        self, answer: Callable[[Arrays], Arrays] | None = None,
        seconds: Callable[[int], float] = lambda rows: 0.0,
    ) -> None:  # fmt: skip
        self.calls: list[Arrays] = []
        self._answer = answer or (lambda inputs: {"y": inputs["x"]})
        self._seconds = seconds

    def run(self, inputs: Arrays) -> Arrays:
        self.calls.append(inputs)
        time.sleep(self._seconds(len(inputs["x"])))
        return self._answer(inputs)

    def unload(self) -> None:
        """Nothing to free."""


def batched(**changes: object) -> Manifest:
    """A model of program `p` that may be batched."""
    return manifest(**{"files": PROGRAM, "batching": Batching(max_size=32), **changes})


def test_without_warm_up_inputs_zeros_are_used() -> None:
    """Every variable dimension is 1; texts are empty."""
    made = manifest(
        inputs=[spec("x", "INT64", [-1, 3]), spec("t", "BYTES", [-1, 2]), spec("h", "BF16", [-1])]
    )
    inputs = inputs_of(made)
    assert (inputs["x"].shape, inputs["x"].dtype, inputs["x"].any()) == ((1, 3), "<i8", False)
    assert inputs["t"].tolist() == [[b"", b""]]
    assert (inputs["h"].shape, inputs["h"].dtype) == ((1,), "<u2")


def test_what_may_be_left_out_is_left_out() -> None:
    """A value made up for it could break the model; one that the manifest gives is used."""
    optional = TensorSpec("scale", "FP32", [1], optional=True)
    made = manifest(inputs=[spec("x"), optional])
    assert list(inputs_of(made)) == ["x"]
    told = manifest(inputs=[spec("x"), optional], warmup=[{"scale": WarmupTensor([1], [2.0])}])
    assert inputs_of(told)["scale"].tolist() == [2.0]


def test_the_first_warm_up_inputs_of_the_manifest_are_used() -> None:
    """In their shape; what they leave out is zeros."""
    made = manifest(
        inputs=[spec("x", "FP32", [-1, 2]), spec("t", "BYTES", [-1]), spec("z", "FP32", [-1])],
        warmup=[
            {"x": WarmupTensor([2, 2], [1, 2, 3, 4]), "t": WarmupTensor([2], ["a", "ä"])},
            {"x": WarmupTensor([9, 2])},
        ],
    )
    inputs = inputs_of(made)
    assert inputs["x"].tolist() == [[1, 2], [3, 4]]
    assert inputs["t"].tolist() == [b"a", "ä".encode()]
    assert inputs["z"].tolist() == [0]
    assert inputs_of(manifest(warmup=[{"x": WarmupTensor([3, 2])}]))["x"].shape == (3, 2)


def test_a_batch_that_pays_is_used() -> None:
    """A call of any size takes as long as one: the manifest's limits stand."""
    model = Model(seconds=lambda rows: 0.002)
    assert Warmup().run(batched(), model) == Batching(max_size=32)
    assert {len(call["x"]) for call in model.calls} == {1, TRIAL_BATCH}


def test_a_batch_that_does_not_pay_is_not_used() -> None:
    """Each row takes its time, so requests run one by one and answer sooner."""
    model = Model(seconds=lambda rows: 0.001 * rows * rows)
    assert Warmup().run(batched(), model).max_size == 1


def test_a_batch_that_fails_does_not_pay() -> None:
    """The copy serves one by one: each single request works."""

    def answer(inputs: Arrays) -> Arrays:
        if len(inputs["x"]) > 1:
            raise ModelFailed("out of memory")
        return {"y": inputs["x"]}

    assert Warmup().run(batched(), Model(answer)).max_size == 1


def test_a_model_that_is_not_batched_runs_once() -> None:
    """There is nothing to try."""
    model = Model()
    assert Warmup().run(manifest(batching=ALONE), model).max_size == 1
    assert len(model.calls) == 1


def test_variants_of_a_program_that_has_run_are_not_run_again() -> None:
    """Their batching is what the first one showed, within their own limits."""
    warmup, later = Warmup(), Model()
    warmup.run(batched(), Model(seconds=lambda rows: 0.002))
    own = Batching(max_size=8, max_wait_ms=5)
    assert warmup.run(batched(name="other", batching=own), later) == own
    assert later.calls == []


def test_a_variant_that_forbids_batches_says_nothing_about_the_others() -> None:
    """The first that may be batched is tried."""
    warmup, model = Warmup(), Model(seconds=lambda rows: 0.002)
    assert warmup.run(batched(batching=ALONE), Model()).max_size == 1
    assert warmup.run(batched(), model).max_size == 32
    assert warmup.run(batched(batching=ALONE), Model()).max_size == 1
    assert warmup.run(batched(), Model()).max_size == 32


def test_what_failed_is_not_remembered() -> None:
    """The next variant is tried."""

    def broken(inputs: Arrays) -> Arrays:
        raise ModelFailed("it raised")

    warmup, model = Warmup(), Model()
    with pytest.raises(LoadFailed, match="it raised"):
        warmup.run(batched(batching=ALONE), Model(broken))
    warmup.run(batched(batching=ALONE), model)
    assert len(model.calls) == 1


@pytest.mark.parametrize(
    "given",
    [
        WarmupTensor([1, 2], [1]), WarmupTensor([1, 2], ["a", "b"]), WarmupTensor([1, 3], [1, 2]),
        WarmupTensor([1, 2], [300, 1]), WarmupTensor([1, 2], [-1, 1]),
    ],
    ids=["too few", "texts", "another shape", "too large", "negative"],
)  # fmt: skip
def test_warm_up_inputs_that_make_no_tensor_fail_the_load(given: WarmupTensor) -> None:
    """The manifest is at fault, and the cause says so."""
    made = manifest(inputs=[spec("x", "UINT8", [-1, 2])], warmup=[{"x": given}], batching=ALONE)
    with pytest.raises(LoadFailed, match="warm-up"):
        Warmup().run(made, Model())


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        ({}, "'y' is missing"), ({"z": np.zeros((1, 2))}, "'y' is missing"),
        ({"y": np.zeros((1, 3), "<f4")}, "'y': shape"), ({"y": np.zeros(2, "<f4")}, "'y': shape"),
    ],
)  # fmt: skip
def test_outputs_other_than_declared_fail_the_load(outputs: Arrays, said: str) -> None:
    """Missing, of another name, or of another shape."""
    with pytest.raises(LoadFailed, match=said):
        Warmup().run(manifest(batching=ALONE), Model(lambda _: outputs))


def test_outputs_as_declared_pass() -> None:
    """-1 takes any size; more outputs than declared are no fault."""
    check_outputs({"y": np.zeros((7, 2), "<f4"), "more": np.zeros(1)}, manifest())


def test_variants_share_what_they_are_compiled_from() -> None:
    """The program, or the architecture with its settings; whole models share nothing."""
    assert program_key(batched()) == program_key(batched(name="other", licence="MIT")) == "p" * 64
    settings = {"architecture": "bert", "arch.layers": 6}
    one = manifest(platform="pytorch_architecture", parameters=settings)
    other = manifest(platform="pytorch_architecture", parameters=settings | {"arch.layers": 12})
    assert program_key(one) == program_key(one) != program_key(other)
    assert program_key(manifest(platform="onnxruntime_onnx")) == ""
