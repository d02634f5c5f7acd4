"""Weighted rendezvous hashing, by what moves when cells come, go or change their weight."""

from __future__ import annotations

from collections import Counter

import pytest

from shared.rendezvous import home, order

NAMES = [f"model-{number}" for number in range(20_000)]
CELLS = dict.fromkeys(("a", "b", "c", "d"), 1.0)


def homes(weights: dict[str, float]) -> dict[str, str]:
    return {name: order(name, weights)[0] for name in NAMES}


def shares(weights: dict[str, float]) -> dict[str, float]:
    counts = Counter(homes(weights).values())
    return {cell: counts[cell] / len(NAMES) for cell in weights}


def test_the_order_is_what_every_gateway_of_every_release_computes() -> None:
    """Another order would move the models of a running fleet."""
    assert order("bert", CELLS) == ["a", "b", "d", "c"]
    assert order("mnist", CELLS) == ["b", "d", "a", "c"]
    assert order("mnist", dict(reversed(CELLS.items()))) == ["b", "d", "a", "c"]


def test_cells_of_one_weight_get_the_same_share() -> None:
    assert shares(CELLS) == {cell: pytest.approx(0.25, rel=0.05) for cell in CELLS}


@pytest.mark.parametrize("least", [1.0, 0.001, 1000.0])
def test_shares_follow_the_weights_whatever_their_unit(least: float) -> None:
    weights = {"a": least, "b": 2 * least, "c": 5 * least}
    expected = {"a": 1 / 8, "b": 2 / 8, "c": 5 / 8}
    assert shares(weights) == {c: pytest.approx(share, rel=0.06) for c, share in expected.items()}


@pytest.mark.parametrize("number", [1, 4, 20])
def test_a_cell_that_comes_takes_its_share_and_moves_nothing_else(number: int) -> None:
    weights = {f"cell-{at}": 1.0 for at in range(number)}
    before, after = homes(weights), homes({**weights, "new": 1.0})
    moved = [name for name in NAMES if before[name] != after[name]]
    assert {after[name] for name in moved} == {"new"}
    assert len(moved) / len(NAMES) == pytest.approx(1 / (number + 1), rel=0.08)


@pytest.mark.parametrize("weights", [(1.0,) * 9, (0.0, 1.0, 1.0, 2.0, 5.0, 5.0), (0.0, 0.0, 3.0)])
def test_a_home_is_the_first_in_order(weights: tuple[float, ...]) -> None:
    cells = {f"cell-{at}": weight for at, weight in enumerate(weights)}
    first = home(cells)
    assert all(first(name) == order(name, cells)[0] for name in NAMES[:3000])


def test_the_second_cell_in_order_is_where_the_model_was_before_the_first_came() -> None:
    before = homes(CELLS)
    for name in NAMES[:2000]:
        first, second, *_ = order(name, {**CELLS, "new": 1.0})
        assert before[name] == (second if first == "new" else first)


def test_only_the_models_of_a_cell_that_goes_move_and_to_all_others() -> None:
    before = homes(CELLS)
    after = homes({cell: weight for cell, weight in CELLS.items() if cell != "b"})
    moved = {name for name in NAMES if before[name] != after[name]}
    assert moved == {name for name in NAMES if before[name] == "b"}
    counts = Counter(after[name] for name in moved)
    assert min(counts.values()) > 0.9 * len(moved) / 3


def test_a_weight_that_grows_only_attracts() -> None:
    before, after = homes(CELLS), homes({**CELLS, "c": 3.0})
    assert {after[name] for name in NAMES if before[name] != after[name]} == {"c"}


def test_a_cell_of_weight_0_gets_nothing_and_is_asked_last() -> None:
    draining = {**CELLS, "b": 0.0}
    rest = {cell: weight for cell, weight in CELLS.items() if cell != "b"}
    assert homes(draining) == homes(rest)
    assert all(order(name, draining)[-1] == "b" for name in NAMES[:100])


def test_a_fleet_of_weight_0_has_an_order_too() -> None:
    both = {"a": 0.0, "b": 0.0}
    assert set(order("bert", both)) == {"a", "b"}
    assert home(both)("bert") == order("bert", both)[0]
