"""The list of faults is complete, and each has a test that exists, or says why it has none."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.contract.sources import ROOT, tree

LIST = ROOT / "tests" / "faults.md"
FAULTS = 105
WORDS_OF_A_REASON = 3
_NAMED = re.compile(r"`([^`]+)`")


def rows() -> list[list[str]]:
    """The cells of each row that begins with the number of a fault."""
    lines = LIST.read_text().splitlines()
    table = [line for line in lines if re.match(r"\| F\d+ \|", line)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


@cache
def functions_of(path: str) -> frozenset[str]:
    """Names of the test functions of a file below tests/; none if there is no such file."""
    file = ROOT / "tests" / path
    if not file.is_file():
        return frozenset()
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    names = (node.name for node in ast.walk(tree(file)) if isinstance(node, kinds))
    return frozenset(name for name in names if name.startswith("test_"))


def test_every_fault_is_in_the_list_in_order() -> None:
    """F1 to F105, once each, in words."""
    assert [row[0] for row in rows()] == [f"F{number}" for number in range(1, FAULTS + 1)]
    assert all(len(row) == 4 and row[1] for row in rows())


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_a_fault_has_a_test_that_exists_or_a_reason(row: list[str]) -> None:
    """What is named is there; who names nothing says why."""
    _, _, shown_by, reason = row
    named = _NAMED.findall(shown_by)
    for name in named:
        path, _, function = name.partition("::")
        assert function in functions_of(path), f"there is no {name}"
    assert named or len(reason.split()) >= WORDS_OF_A_REASON
