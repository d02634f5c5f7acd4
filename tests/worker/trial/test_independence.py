"""Rows that may share a batch, and rows that may not: decided from what a model answers."""

from __future__ import annotations

import numpy as np
import pytest

from shared.errors import ModelFailed
from tests.helpers.factories import spec
from tests.worker.trial.planted import HONEST, MIXING, Function
from worker.trial.independence import NotSteady, Run, mixing
from worker.trial.rows import Arrays, Range, made

X = [spec("x", "FP32", [-1, 5])]
Y = [spec("y", "FP32", [-1, -1])]
SIZES = [8, 2, 3, 5]


def of(function: Function) -> Run:
    """A model with one input and one output."""
    return lambda inputs: {"y": function(inputs["x"])}


def judged(run: Run, outputs=Y, seed: int = 0, sizes=SIZES, of: Range = Range.WIDE) -> str:
    example = {"x": np.zeros((1, 5), "<f4")}
    return mixing(run, outputs, made(X, example, 16, of, seed), sizes).reason


@pytest.mark.parametrize("name", MIXING)
@pytest.mark.parametrize("seed", range(3))
def test_a_model_that_mixes_rows_is_found_out(name: str, seed: int) -> None:
    """Whatever of the others a row's answer depends on."""
    assert judged(of(MIXING[name]), seed=seed) != ""


@pytest.mark.parametrize("name", [name for name in MIXING if "square" not in name])
@pytest.mark.parametrize("seed", range(3))
def test_a_trial_of_few_rows_has_those_that_show_it(name: str, seed: int) -> None:
    """Four at once are what a slow model is tried with; the first rows are the most unlike."""
    example = {"x": np.zeros((1, 5), "<f4")}
    rows = made(X, example, 8, Range.WIDE, seed)
    assert mixing(of(MIXING[name]), Y, rows, [4]).reason != ""


@pytest.mark.parametrize("name", MIXING)
def test_it_is_found_out_where_it_is_one_of_two_outputs(name: str) -> None:
    """Every output is compared."""

    def run(inputs: Arrays) -> Arrays:
        return {"a": inputs["x"] * 2, "y": MIXING[name](inputs["x"])}

    assert "'y'" in judged(run, [spec("a", "FP32", [-1, 5]), *Y])


@pytest.mark.parametrize("name", HONEST)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_an_honest_model_is_not_suspected(name: str, seed: int) -> None:
    """Rounding that differs with the size of a batch is none of its faults."""
    assert judged(of(HONEST[name]), seed=seed) == ""


@pytest.mark.parametrize("datatype", ["FP16", "FP64", "INT8", "INT64", "UINT8", "BOOL", "BYTES"])
@pytest.mark.parametrize("mixes", [False, True])
def test_it_is_so_for_every_datatype(datatype: str, mixes: bool) -> None:
    """What is taken from another row is seen in all of them."""
    x, y = [spec("x", datatype, [-1, 5])], [spec("y", datatype, [-1, 5])]
    rows = made(x, {"x": example_of(datatype)}, 16, Range.WIDE)
    run = of((lambda x: x[::-1]) if mixes else (lambda x: x.copy()))
    assert bool(mixing(run, y, rows, [8, 2, 3]).reason) is mixes


def example_of(datatype: str) -> np.ndarray:
    if datatype == "BYTES":
        return np.full((1, 5), b"text", object)
    kinds = {"FP16": "<f2", "FP64": "<f8", "BOOL": "?", "INT8": "i1", "UINT8": "u1", "INT64": "<i8"}
    return np.arange(5).reshape(1, 5).astype(kinds[datatype])


def test_a_near_tie_of_an_argmax_is_forgiven_once() -> None:
    """One row of many may round to the other side; a model that always differs is found out."""
    outputs = [spec("y", "INT64", [-1])]

    def ties(x: np.ndarray) -> np.ndarray:
        """Of the zeros, the one row whose numbers are all equal, another is best in a batch."""
        return np.where((x == 0).all(1) & (len(x) == 8), 1, x.argmax(1))

    assert judged(of(ties), outputs) == ""
    assert "alone" in judged(of(lambda x: x.argmax(1) + (len(x) > 1)), outputs)


def test_a_batch_that_fails_although_its_rows_work_is_a_reason() -> None:
    """It says what the model says."""

    def run(inputs: Arrays) -> Arrays:
        if len(inputs["x"]) > 2:
            raise ModelFailed("at most two rows please")
        return {"y": inputs["x"]}

    assert "at most two rows please" in judged(run)


def test_a_row_that_fails_alone_says_nothing() -> None:
    """Others are to be tried."""

    def run(inputs: Arrays) -> Arrays:
        if (inputs["x"] < 0).any():
            raise ModelFailed("negative")
        return {"y": inputs["x"]}

    with pytest.raises(ModelFailed, match="negative"):
        judged(run)


def test_a_model_that_is_not_steady_is_not_judged() -> None:
    """Two runs of one input differ: then nothing can be compared."""
    random = np.random.default_rng(1)
    with pytest.raises(NotSteady, match="'y'"):
        judged(of(lambda x: x * random.random(x.shape).astype("<f4")))


def test_what_two_runs_differ_by_is_allowed_in_a_batch_too() -> None:
    """Sums in no fixed order, as some GPU kernels make them."""
    random = np.random.default_rng(1)
    noisy = of(lambda x: x * (1 + 2e-5 * random.standard_normal(x.shape)).astype("<f4"))
    assert judged(noisy) == ""


def test_a_model_that_writes_to_its_input_or_gives_it_back_is_judged_rightly() -> None:
    """Each call gets arrays of its own."""

    def adds_one(x: np.ndarray) -> np.ndarray:
        x += 1
        return x

    assert judged(of(adds_one)) == ""


def test_what_there_is_no_time_for_is_left_out() -> None:
    """A batch and its mates are always tried."""
    calls: list[int] = []

    def run(inputs: Arrays) -> Arrays:
        calls.append(len(inputs["x"]))
        return {"y": inputs["x"]}

    rows = made(X, {"x": np.zeros((1, 5), "<f4")}, 4, Range.WIDE)
    assert mixing(run, Y, rows, [2, 3], lambda size, calls: False) == ("", [2])
    assert calls == [1, 1, 2, 2, 2, 2, 1]
