"""Shape conditions of a program are parsed, not evaluated."""

from __future__ import annotations

import pytest

from shared.errors import Corrupt
from worker.runtimes.guards import parse_guard

RANKS = {"x": 2, "y": 1}


@pytest.mark.parametrize(
    ("text", "shapes", "holds"),
    [
        ("L['x'].size()[0] <= 16", ((16, 3), (1,)), True),
        ("L['x'].size()[0] <= 16", ((17, 3), (1,)), False),
        ("L['x'].size()[1] == L['y'].size()[0]", ((1, 3), (3,)), True),
        ("L['x'].size()[1] == L['y'].size()[0]", ((1, 3), (4,)), False),
        ("L['x'].size()[0] % 2 == 0", ((4, 1), (1,)), True),
        ("L['x'].size()[0] % 2 == 0", ((5, 1), (1,)), False),
        ("((-1) + L['y'].size()[0]) != 1", ((1, 1), (2,)), False),
        ("3*(L['x'].size()[0] // 2)*(L['x'].size()[0] // 2) >= 12", ((4, 1), (1,)), True),
        ("not (L['x'].size()[0] > 3 or L['y'].size()[0] > 3)", ((3, 9), (3,)), True),
        ("L['x'].size()[0] > 3 and L['y'].size()[0] > 3", ((4, 9), (3,)), False),
        ("max(1, L['x'].size()[0]) == 1", ((0, 9), (3,)), True),
    ],
)
def test_arithmetic_on_sizes_is_understood(text, shapes, holds):
    """The conditions that torch.export writes mean what they say."""
    assert parse_guard(text, RANKS)(shapes) is holds


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "L['x'].size().__class__",
        "L['z'].size()[0] == 1",
        "L['x'].size()[2] == 1",
        "L['x'].size()[-1] == 1",
        "L['x']['a'].size()[0] == 1",
        "L['x'].stride()[0] == 1",
        "(lambda: 1)() == 1",
        "[1 for i in (1,)] == 1",
        "2 ** 10 ** 10 == 1",
        "'a' == 'a'",
        "1 < 2 < 3",
        "open('x')",
        "max(*L)",
        "x := 1",
        "",
        "(" * 5000,
        "-" * 3000 + "1 == 1",
        "1 == 1" + " " * 5000,
    ],
)
def test_anything_else_refuses_the_program(text):
    """What is not arithmetic on sizes is refused with the text, not skipped."""
    with pytest.raises(Corrupt, match="not understood"):
        parse_guard(text, RANKS)
