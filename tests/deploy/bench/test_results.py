"""Rounds, figures, targets, the file that keeps them, and the table that shows them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from deploy.bench.measure import Pair, alternate, percentile, spread
from deploy.bench.report import details, number, table
from deploy.bench.results import Figure, Target, alone, compare, load, save

PAIRS = [Pair(50.0, 100.0), Pair(30.0, 50.0), Pair(40.0, 200.0)]


def figure(target: Target | None = None, allowance: float = 0.0) -> Figure:
    return compare(
        "a title", "requests/s", PAIRS, reference_is="an echo", target=target, allowance=allowance
    )


def test_a_ratio_is_taken_within_each_round_before_its_median_is() -> None:
    """The ratio of the medians would compare different moments: here it would be 0.4."""
    found = figure()
    assert found.ours == 40.0
    assert found.reference == 100.0
    assert found.ratio == 0.5
    assert found.ratio_spread == (0.2, 0.6)
    assert found.difference == -50.0


def test_an_allowance_is_taken_off_ours_before_the_ratio() -> None:
    """What a figure may cost beside its reference does not count against it."""
    found = figure(allowance=10.0)
    assert found.ratio == 0.4
    assert found.ours == 40.0


@pytest.mark.parametrize(
    ("target", "reached"),
    [
        (Target(of="ratio", at_least=0.5), True),
        (Target(of="ratio", at_least=0.51), False),
        (Target(of="difference", at_most=-50.0), True),
        (Target(of="difference", at_most=-51.0), False),
        (Target(of="ours", at_least=40.0, at_most=40.0), True),
        (None, None),
    ],
)
def test_a_figure_says_whether_its_median_reaches_the_target(
    target: Target | None, reached: bool | None
) -> None:
    """Bounds themselves are within; without a target nothing is claimed."""
    assert figure(target).reached is reached


def test_a_figure_without_a_reference_has_no_ratio() -> None:
    """There is nothing that could be one."""
    found = alone("a title", "loads", [1.0, 1.0], target=Target(of="ours", at_most=1))
    assert (found.ours, found.reference, found.ratio, found.reached) == (1.0, None, None, True)


def test_the_file_holds_ours_reference_ratio_and_unit_by_name(tmp_path: Path) -> None:
    """These four stand in each entry, also where they are null."""
    path = tmp_path / "bench" / "results.json"
    save(path, {"a": figure(), "b": alone("b", "loads", [1.0])}, {"cores": 2})
    found = json.loads(path.read_text())
    assert found["a"] | {"ours": 40.0, "reference": 100.0, "ratio": 0.5} == found["a"]
    assert found["a"]["unit"] == "requests/s"
    assert found["a"]["machine"] == {"cores": 2}
    assert found["b"]["reference"] is None
    assert found["b"]["ratio"] is None


def test_measuring_one_leaves_the_others_in_the_file(tmp_path: Path) -> None:
    """And replaces its own older figure."""
    path = tmp_path / "results.json"
    save(path, {"a": alone("a", "ms", [1.0]), "b": alone("b", "ms", [2.0])}, {})
    save(path, {"b": alone("b", "ms", [3.0])}, {})
    assert {name: one.ours for name, one in load(path).items()} == {"a": 1.0, "b": 3.0}


def test_what_was_written_is_read_back_whole(tmp_path: Path) -> None:
    """Spreads, rounds, notes and target included."""
    path = tmp_path / "results.json"
    written = figure(Target(of="ratio", at_least=0.5))
    written.notes = {"p99, ms": 3.5}
    save(path, {"a": written}, {})
    assert load(path)["a"] == written
    assert load(path)["a"].rounds == [list(pair) for pair in PAIRS]


def test_a_spread_is_the_median_between_the_lowest_and_the_highest() -> None:
    """Whatever the order of the values."""
    assert spread([9.0, 1.0, 4.0]) == (4.0, 1.0, 9.0)
    assert spread([4.0, 2.0]) == (3.0, 2.0, 4.0)


def test_a_percentile_is_a_value_that_was_measured() -> None:
    """Nothing is interpolated, and the last one is the highest."""
    values = [float(value) for value in range(100, 0, -1)]
    assert percentile(values, 0.5) == 51.0
    assert percentile(values, 0.99) == 100.0
    assert percentile(values, 1.0) == 100.0
    assert percentile([7.0], 0.99) == 7.0


def test_ours_and_the_reference_take_turns_at_going_first() -> None:
    """So that a machine that slows down favours neither."""
    order: list[str] = []

    def ours() -> float:
        order.append("ours")
        return float(len(order))

    def reference() -> float:
        order.append("reference")
        return float(len(order))

    reported: list[tuple[int, Pair]] = []
    pairs = alternate(3, ours, reference, lambda at, pair: reported.append((at, pair)))
    assert order == ["ours", "reference", "reference", "ours", "ours", "reference"]
    assert pairs == [(1.0, 2.0), (4.0, 3.0), (5.0, 6.0)]
    assert reported == list(enumerate(pairs))


def shown(figure: Figure) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(details("name", figure))
    console.print(table({"name": figure}))
    return console.file.getvalue()


def test_a_missed_target_is_shown_in_words() -> None:
    """As colour is not enough, with the measure that missed it."""
    pairs = [Pair(20.0, 100.0), Pair(30.0, 100.0), Pair(40.0, 100.0)]
    target = Target(of="ratio", at_least=0.5)
    text = shown(compare("a title", "requests/s", pairs, reference_is="an echo", target=target))
    assert "ratio >= 0.5: MISSED" in text
    assert "ratio 0.300 (0.200 to 0.400)" in text
    assert "an echo" in text


def test_the_measure_that_the_target_is_about_is_the_one_shown() -> None:
    """A bound on a difference is not one on a ratio."""
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
