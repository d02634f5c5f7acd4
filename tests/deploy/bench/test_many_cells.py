"""The simulator of many cells, at a small size, and what its page says of a large one."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.bench import many_cells

PAGE = Path(many_cells.__file__).parents[1] / "docs" / "cells.md"
CELLS = 10
SMALL = f"--cells {CELLS} --workers 200 --models 5000 --requests 20000".split()


def rows_of(text: str) -> dict[str, list[str]]:
    """The figures of the table in a text, by row."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    start = next(at for at, line in enumerate(lines) if "Zipf" in line)
    rows = [[field.strip() for field in line.strip("|").split("|")] for line in lines[start:]]
    return {name: figures for name, *figures in rows[2:]}


def numbers(text: str) -> list[float]:
    """Shares and multiples."""
    return [float(part.strip("%")) / (100 if "%" in part else 1) for part in text.split(" / ")]


@pytest.fixture(scope="module")
def figures() -> dict[str, list[list[float]]]:
    """Of a small fleet, by row, a list for each exponent."""
    with pytest.MonkeyPatch.context() as patched:
        said: list[str] = []
        patched.setattr("builtins.print", said.append)
        assert many_cells.main(SMALL) == 0
    return {name: [numbers(one) for one in each] for name, each in rows_of(said[0]).items()}


def test_the_page_has_the_rows_of_the_command(figures: dict[str, list[list[float]]]) -> None:
    shown = rows_of(PAGE.read_text())
    assert list(shown) == list(figures)
    assert {len(each) for each in shown.values()} == {3}


def test_cells_share_models_load_and_memory(figures: dict[str, list[list[float]]]) -> None:
    """The more so the flatter the trace: a model is in one cell, however many ask for it."""
    for row in ("models of a cell", "bytes held by a cell"):
        for least, middle, most in figures[row]:
            assert 0.7 < least <= middle <= most < 1.3, row
    flat, _, steep = (most for _, _, most in figures["requests of a cell"])
    assert flat < steep
    for warm, best in zip(figures["warm"], figures["warm, one cell"], strict=True):
        assert warm[0] == pytest.approx(best[0], abs=0.03)


def test_only_the_share_of_a_cell_moves(figures: dict[str, list[list[float]]]) -> None:
    for (share,) in figures["added: models that move"]:
        assert share == pytest.approx(1 / (CELLS + 1), rel=0.2)
    for (share,) in figures["removed: models that move"]:
        assert share == pytest.approx(1 / (CELLS + 1), rel=0.3)
    for (most,) in figures["removed: of them, most to one cell"]:
        assert most < 3 / CELLS
