"""The first run of a model: what decides whether it may be served, and what does not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from shared.errors import InvalidInput, LoadFailed, ModelFailed
from shared.manifest import Batching, WarmupTensor
from tests.helpers.factories import manifest, spec
from worker.device.base import DeviceOutOfMemory
from worker.runtimes.failures import WrongOutput
from worker.serving.batch_tensors import Arrays
from worker.trial.warming import check_outputs, warm_up

ALONE, BATCHED = Batching(), Batching(max_size=8)
IMAGE = [spec("x", "FP32", [-1, 3, -1, -1])]


class Model:
    """Answers as told, and may know which shapes it takes."""

    bytes_resident = 0
    shared: dict[str, int] = {}  # noqa: RUF012 - never changed

    def __init__(
        self, answer: Callable[[Arrays], Arrays],
        near: Callable[[int, bool], list[list[int]] | None] = lambda size, one_row: None,
    ) -> None:  # fmt: skip
        self._answer = answer
        self.shapes_near = near
        self.shapes: list[tuple[int, ...]] = []

    def run(self, inputs: Arrays) -> Arrays:
        self.shapes.append(inputs["x"].shape)
        return self._answer(inputs)

    def unload(self) -> None:
        """Nothing to free."""


def like_a_convolution(inputs: Arrays) -> Arrays:
    x = inputs["x"]
    if min(x.shape[2:]) < 3:
        raise ModelFailed("the kernel is larger than the image")
    return {"y": x[:, :, 2:, 2:].copy()}


def test_inputs_of_ours_that_fail_decide_nothing() -> None:
    """Sizes that it takes are found, else it is loaded cold, with the first cause."""
    made = manifest(inputs=IMAGE, outputs=[spec("y", "FP32", [-1, 3, -1, -1])], batching=BATCHED)
    model = Model(like_a_convolution)
    inputs, cold = warm_up(made, model)
    assert (inputs["x"].shape, cold) == ((1, 3, 16, 16), "")

    def refuses(inputs: Arrays) -> Arrays:
        raise InvalidInput("never")

    assert warm_up(made, Model(refuses)) == (None, "never")


def test_shapes_that_the_program_allows_are_taken() -> None:
    """It is asked with each of our sizes, and whether the first is the batch."""
    asked: list[tuple[int, bool]] = []

    def near(size: int, one_row: bool) -> list[list[int]]:
        asked.append((size, one_row))
        return [[1, 3, max(7, size), max(7, size)]]

    made = manifest(inputs=IMAGE, outputs=[spec("y", "FP32", [-1, 3, -1, -1])], batching=BATCHED)
    inputs, _ = warm_up(made, Model(like_a_convolution, near))
    assert (inputs["x"].shape, asked) == ((1, 3, 7, 7), [(2, True)])


def test_what_the_manifest_gives_decides() -> None:
    """It is the publisher's word; nothing else is tried."""
    model = Model(like_a_convolution)
    made = manifest(inputs=IMAGE, warmup=[{"x": WarmupTensor([1, 3, 2, 2])}], batching=ALONE)
    with pytest.raises(LoadFailed, match="larger than the image"):
        warm_up(made, model)
    assert model.shapes == [(1, 3, 2, 2)]


def test_what_it_gives_in_part_does_not() -> None:
    """The rest is ours."""
    inputs = [spec("x", "FP32", [-1, 2]), spec("z", "FP32", [-1, 2])]
    made = manifest(
        inputs=inputs, warmup=[{"x": WarmupTensor([1, 2], [1, 2])}], batching=ALONE
    )  # fmt: skip

    def fails(inputs: Arrays) -> Arrays:
        raise ModelFailed(f"x is {inputs['x'].tolist()}")

    assert warm_up(made, Model(fails)) == (None, "x is [[1.0, 2.0]]")


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
        warm_up(manifest(batching=ALONE), Model(lambda _: outputs))


def test_an_output_of_another_datatype_fails_the_load() -> None:
    """The runtimes say so, in a word of their own: it is no failure of the model's."""

    def wrong(inputs: Arrays) -> Arrays:
        raise WrongOutput("output 'y' is torch.int64, not FP32")

    with pytest.raises(LoadFailed, match="not FP32"):
        warm_up(manifest(batching=ALONE), Model(wrong))


def test_sizes_of_outputs_decide_nothing_where_those_of_the_input_are_ours() -> None:
    """A model for 28 by 28 whose input is declared as free gives another length for 16 by 16."""
    made = manifest(
        inputs=IMAGE, outputs=[spec("y", "FP32", [-1, 3, 26, 26])], batching=BATCHED
    )  # fmt: skip
    inputs, cold = warm_up(made, Model(like_a_convolution))
    assert inputs is None
    assert "larger than the image" in cold


def test_memory_that_runs_out_at_a_size_of_ours_is_no_reason_either() -> None:
    """But at the first one: room may be made, and another try may do."""

    def at(size: int) -> Callable[[Arrays], Arrays]:
        def run(inputs: Arrays) -> Arrays:
            if inputs["x"].shape[2] == size:
                raise DeviceOutOfMemory("full")
            return like_a_convolution(inputs)

        return run

    made = manifest(inputs=IMAGE, outputs=[spec("y", "FP32", [-1, 3, -1, -1])], batching=BATCHED)
    with pytest.raises(DeviceOutOfMemory):
        warm_up(made, Model(at(2)))
    inputs, _ = warm_up(made, Model(at(16)))
    assert inputs["x"].shape[2] == 32


def test_a_model_that_writes_to_its_input_is_tried_with_what_was_meant() -> None:
    """The inputs that are remembered are as they were made."""

    def overwrites(inputs: Arrays) -> Arrays:
        inputs["x"] += 1
        return {"y": inputs["x"]}

    inputs, _ = warm_up(manifest(batching=ALONE), Model(overwrites))
    assert not inputs["x"].any()


@pytest.mark.parametrize(
    "given",
    [
        WarmupTensor([1, 2], [1]), WarmupTensor([1, 2], ["a", "b"]), WarmupTensor([1, 3], [1, 2]),
        WarmupTensor([1, 2], [300, 1]), WarmupTensor([1, 2], [-1, 1]),
        WarmupTensor([1, 2], raw="AAA"), WarmupTensor([1, 2], raw="AAAAAA=="),
    ],
    ids=["too few", "texts", "another shape", "too large", "negative", "no base64", "too long"],
)  # fmt: skip
def test_warm_up_inputs_that_make_no_tensor_fail_the_load(given: WarmupTensor) -> None:
    """The manifest is at fault, and the cause says so."""
    made = manifest(inputs=[spec("x", "UINT8", [-1, 2])], warmup=[{"x": given}], batching=ALONE)
    with pytest.raises(LoadFailed, match="warm-up"):
        warm_up(made, Model(lambda inputs: inputs))


def test_outputs_as_declared_pass() -> None:
    """-1 takes any size; more outputs than declared are no fault."""
    assert check_outputs({"y": np.zeros((7, 2), "<f4"), "more": np.zeros(1)}, manifest()) == ""
