"""Rows that are like no other, beside an ordinary one."""

from __future__ import annotations

import numpy as np
import pytest

from shared import datatypes
from shared.errors import ModelFailed
from tests.helpers.factories import spec
from tests.worker.trial.planted import HONEST, Function
from worker.trial.outliers import disturbed
from worker.trial.rows import Arrays

LOOKS: dict[str, tuple[str, Function]] = {
    "NaN": ("FP32", lambda x: x if not np.isnan(x).any() else np.zeros_like(x)),
    "infinity": ("FP64", lambda x: x if not np.isinf(x).any() else np.zeros_like(x)),
    "large": ("FP16", lambda x: x * 2 if x.max() > 20_000 else x),
    "a token": ("INT64", lambda x: x - x[:1] if (x == 7).any() else x),
    "a token of many": ("INT32", lambda x: x * 2 if (x > 20_000).any() else x),
    "a factor": ("INT64", lambda x: x * int((x > 5).any())),
    "a mark": ("INT64", lambda x: x[::-1] if (x == -100).any() else x),
    "255": ("UINT8", lambda x: x ^ 1 if (x > 200).any() else x),
    "the empty text": ("BYTES", lambda x: x if all(x.ravel()) else np.full_like(x, b"")),
    "all true": ("BOOL", lambda x: x ^ x.all(1).any()),
}


def judged(function: Function, datatype: str = "FP32") -> str:
    side = [spec("x", datatype, [-1, 5])]

    def run(inputs: Arrays) -> Arrays:
        return {"x": function(inputs["x"])}

    if datatype == "BYTES":
        return disturbed(run, side, side, {"x": np.full((1, 5), b"text", object)})
    dtype = datatypes.NUMPY[datatype]
    zeros, counted = np.zeros((1, 5), dtype), np.arange(5).reshape(1, 5).astype(dtype)
    first, second = (disturbed(run, side, side, {"x": example}) for example in (zeros, counted))
    assert bool(first) is bool(second)
    return first


@pytest.mark.parametrize("name", LOOKS)
def test_a_model_that_looks_for_one_value_in_its_whole_batch_is_found_out(name: str) -> None:
    """Although no row near the example has that."""
    datatype, function = LOOKS[name]
    assert "depends on the other rows" in judged(function, datatype)
    assert judged(lambda x: x.copy(), datatype) == ""


@pytest.mark.parametrize("name", HONEST)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_honest_model_is_not_suspected(name: str) -> None:
    """Whatever comes out for an outlier: its mate has the same."""
    example = np.ones((1, 5), "<f4")

    def run(inputs: Arrays) -> Arrays:
        return {"y": HONEST[name](inputs["x"])}

    x, y = [spec("x", "FP32", [-1, 5])], [spec("y", "FP32", [-1, -1])]
    assert disturbed(run, x, y, {"x": example}) == ""


def test_an_outlier_that_the_model_refuses_proves_nothing() -> None:
    """An index out of range, for one; of the others it may still be found out."""
    table = np.arange(100)

    def looked_up(x: np.ndarray) -> np.ndarray:
        try:
            found = table[x]
        except IndexError:
            raise ModelFailed("out of range") from None
        return found if (x < 50).all() else found * 0

    assert judged(lambda x: table[: len(x)][x.clip(0, 0)], "INT64") == ""
    assert "depends on the other rows" in judged(looked_up, "INT64")
