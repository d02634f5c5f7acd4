"""Each rule of the design is shown by a planted bug that the simulation finds, or by a test."""

from __future__ import annotations

import pytest

from tests.contract.sources import ROOT
from tests.simulation.planted import MADE, PLANTED, RULES

COUNT = 9
BUGS = {*PLANTED, *MADE}
# Rules that a cell of simulated processes can break.
SIMULATED = (1, 3, 4, 6, 7)


def test_every_rule_has_a_row() -> None:
    """Without gaps, each with its words."""
    assert list(RULES) == list(range(1, COUNT + 1))
    assert all(words for words, _ in RULES.values())


@pytest.mark.parametrize("number", RULES)
def test_every_row_names_what_is_there(number: int) -> None:
    """A planted bug, or a file of tests."""
    _, shown_by = RULES[number]
    assert shown_by
    assert [each for each in shown_by if each not in BUGS and not (ROOT / each).is_file()] == []


@pytest.mark.parametrize("number", SIMULATED)
def test_what_can_be_simulated_has_a_planted_bug(number: int) -> None:
    """A test elsewhere does not do."""
    assert set(RULES[number][1]) <= BUGS
