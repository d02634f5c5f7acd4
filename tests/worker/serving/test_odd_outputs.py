"""F80: what a model gives that no caller can be given."""

from __future__ import annotations

import math

import numpy as np
import pytest

from shared.envelope import Outcome, unpack_outcome
from tests.helpers.factories import tensor, work
from worker.serving import completions
from worker.serving.completions import completion


def test_an_answer_too_large_for_redis_is_a_clear_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is sent; Redis would refuse it again and again."""
    monkeypatch.setattr(completions, "MAX_OUTCOME_BYTES", 1000)
    large = Outcome([tensor(np.zeros((1, 251), "<f4"), "y")])
    made = completion(work(), large, None)
    assert made.status == "failed"
    assert made.outcome == b"model_failed outputs of 1004 bytes, at most 1000 can be answered"


def test_numbers_that_are_none_are_an_answer() -> None:
    """NaN and infinities go as they are; it is for JSON to say null."""
    odd = np.array([[math.nan, math.inf, -math.inf]], "<f4")
    made = completion(work(), Outcome([tensor(odd, "y")]), None)
    assert made.status == "succeeded"
    (y,) = unpack_outcome(made.outcome).outputs
    assert np.array_equal(np.frombuffer(y.data, "<f4"), odd[0], equal_nan=True)
