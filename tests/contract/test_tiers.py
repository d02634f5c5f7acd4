"""Every test has one tier, and the table of tiers names nothing that is gone."""

from __future__ import annotations

import pytest

from tests.contract.sources import ROOT
from tests.tiers import NAMES, SPREAD, TIERS, tier_of, together

TESTS = ROOT / "tests"


def test_every_test_file_has_a_tier() -> None:
    """A folder that is new needs a line in the table."""
    for path in TESTS.rglob("test_*.py"):
        assert tier_of(path.relative_to(TESTS).as_posix()) in NAMES


def test_every_row_exists() -> None:
    """A file that was moved takes its row along."""
    assert [each for each in (*TIERS, *SPREAD) if not (TESTS / each).exists()] == []


def test_the_longest_path_counts() -> None:
    """A file's own row, then that of its folder, then that of the folder above."""
    assert tier_of("deploy/cli/test_push.py") == "unit"
    assert tier_of("deploy/bench/test_cases.py") == "system"
    assert tier_of("deploy/cli/test_push_bad_files.py") == "system"
    with pytest.raises(KeyError, match="add its folder to TIERS"):
        tier_of("nowhere/test_it.py")


def test_tests_of_a_file_stay_together_unless_they_are_spread() -> None:
    """What is shared by a file is started once."""
    one, two = "tests/lua/test_a.py::test_x", "tests/lua/test_a.py::test_y[1]"
    assert together(one) == together(two)
    one, two = (f"tests/model/test_mutants.py::test_it[{name}]" for name in "ab")
    assert together(one) != together(two)
