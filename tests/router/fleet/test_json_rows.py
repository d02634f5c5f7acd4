"""Lists as JSON in pieces: the same text, however they were made."""

from __future__ import annotations

import json
from typing import Any

import pytest

from router.fleet import json_rows
from router.fleet.json_rows import JsonRows

ROWS = [{"name": f"m{number}", "text": 'é"' * number} for number in range(40)]


def made(rows: list[dict[str, Any]], **beside: Any) -> JsonRows:
    found = JsonRows(beside)
    for row in rows:
        found.add(row)
    return found


def decoded(rows: JsonRows) -> list[dict[str, Any]]:
    return json.loads(b"".join(rows.pieces))


@pytest.mark.parametrize("piece", [1, 100, 1 << 20])
def test_rows_are_joined_whatever_the_pieces(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    """None is cut, left out or doubled."""
    monkeypatch.setattr(json_rows, "PIECE", piece)
    for count in (0, 1, 2, 40):
        assert decoded(made(ROWS[:count])) == ROWS[:count]
    assert decoded(made(ROWS, cell="a")) == [{"cell": "a", **row} for row in ROWS]


@pytest.mark.parametrize("parts", [(0, 0), (0, 3), (3, 0), (5, 35), (1, 1)])
def test_a_list_goes_behind_another(parts: tuple[int, int]) -> None:
    """Empty ones too; and rows can be added behind."""
    first, second = ROWS[: parts[0]], ROWS[parts[0] : sum(parts)]
    rows = made(first)
    rows.extend(made(second))
    rows.add({"last": True})
    assert (decoded(rows), rows.count) == ([*first, *second, {"last": True}], sum(parts) + 1)
