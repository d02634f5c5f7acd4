"""What a person sees."""

from __future__ import annotations

import io

from rich.console import Console

from deploy.bench.measure import Pair
from deploy.bench.results import Figure, Target, compare
from deploy.bench.table import details, number, table


def shown(figure: Figure) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(details("name", figure))
    console.print(table({"name": figure}))
    return console.file.getvalue()


def test_a_missed_target_is_told_in_words() -> None:
    """Also to who sees no colour, with the measure that missed it."""
    pairs = [Pair(20.0, 100.0), Pair(30.0, 100.0), Pair(40.0, 100.0)]
    target = Target(of="ratio", at_least=0.5)
    text = shown(compare("a title", "requests/s", pairs, reference_is="an echo", target=target))
    assert "ratio >= 0.5: MISSED" in text
    assert "ratio 0.300 (0.200 to 0.400)" in text
    assert "an echo" in text


def test_the_measure_that_the_target_is_about_is_the_one_shown() -> None:
    """A bound on a difference is no bound on a ratio."""
    target = Target(of="difference", at_most=1)
    text = shown(compare("t", "ms", [Pair(2.0, 1.5)], reference_is="an echo", target=target))
    assert "difference 0.500" in text
    assert "difference <= 1: reached" in text
    assert "ratio" not in text


def test_numbers_keep_three_digits_that_count() -> None:
    """Large ones are grouped and whole."""
    assert [number(value) for value in (0.05063, 1.3, 18598.3, 0.0)] == [
        "0.0506",
        "1.30",
        "18,598",
        "0.00",
    ]
