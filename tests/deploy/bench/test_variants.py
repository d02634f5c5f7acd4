"""Which variants a round takes."""

from __future__ import annotations

import pytest

from deploy.bench.cases.variants import BASE, NAMES, per_round
from deploy.bench.errors import BenchError


def test_no_variant_is_cold_twice() -> None:
    """Each round has its own, as many as there are enough of, at most as many as asked for."""
    names = [f"m{at}" for at in range(7)]
    assert per_round(names, 3, 4) == [["m0", "m1"], ["m2", "m3"], ["m4", "m5"]]
    assert per_round(names, 3, 1) == [["m0"], ["m1"], ["m2"]]


def test_too_few_variants_for_the_rounds_are_told() -> None:
    """Instead of rounds that measure nothing."""
    with pytest.raises(BenchError, match="only 2 models"):
        per_round(["a", "b"], 3, 1)


def test_there_are_twenty_variants_and_their_base_is_none_of_them() -> None:
    """The base loads the program; what is measured then is a variant's weights alone."""
    assert len(NAMES) == 20
    assert BASE not in NAMES
