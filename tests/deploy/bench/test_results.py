"""Figures, targets, and the file that keeps them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.bench.measure import Pair
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
