"""Tables that lose nothing, however narrow the terminal."""

from __future__ import annotations

import io
import re
from argparse import Namespace
from collections.abc import Callable

import pytest
from rich.console import Console

from deploy.cli import output
from deploy.cli.output import _table, _table_lines, mib, say, show

ID = "0123456789abcdef" * 2
TIME = "2026-11-29T18:01:05.123Z"
COLUMNS = ["time", "kind", "model", "worker", "reason"]
ROW = [TIME, "evicted", "bert-base-uncased 12", "vm-21827-worker-12-ab12", f"room for {ID}"]


def terminal_of(width: int) -> Callable[..., Console]:
    """Stands in for Console."""

    def terminal(**given: object) -> Console:
        return Console(**{"width": width, **given}, force_terminal=True, no_color=True)  # type: ignore[arg-type]

    return terminal


def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int) -> str:
    """What a terminal of that width shows."""
    monkeypatch.setattr(output, "Console", terminal_of(width))
    show(Namespace(json=False), [], COLUMNS, [ROW])
    return re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 117, 200])
def test_every_value_is_whole_at_any_width(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    """So that ids can be copied; no dots stand for the rest."""
    text = shown(monkeypatch, capsys, width)
    assert all(value in text for value in ROW[:-1])
    assert "…" not in text and "".join(ROW[-1].split()) in "".join(text.split())
    assert all(len(line.rstrip()) <= max(width, 60) for line in text.splitlines())


def test_a_sentence_in_a_row_of_lines_is_folded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Between words; what is one word stays whole."""
    monkeypatch.setattr(output, "Console", terminal_of(60))
    words = f"request {ID} is unknown, or its outcome is no longer kept by anybody"
    show(Namespace(json=False), [], ["request", "error", "model"], [[ID, words, "m"]])
    text = capsys.readouterr().out
    assert ID in text.split("error:")[1] and words in " ".join(text.split())
    assert max(len(line) for line in text.splitlines()) <= 60


def test_a_file_gets_lines_of_any_length(capsys: pytest.CaptureFixture[str]) -> None:
    """One row is one line there."""
    long = "x" * 500
    show(Namespace(json=False), [], ["a", "b"], [["1", long], ["2", long]])
    assert sum(long in line for line in capsys.readouterr().out.splitlines()) == 2


def test_what_moves_a_cursor_is_written_out(capsys: pytest.CaptureFixture[str]) -> None:
    """A name of a model's output must not rule the terminal."""
    show(Namespace(json=False), [], ["a", "b"], [["\x1b[2J", "two\nlines"]])
    text = capsys.readouterr().out
    assert "\\x1b[2J" in text and "two lines" in text


@pytest.mark.parametrize("error", [False, True])
def test_a_sentence_is_folded_between_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: bool
) -> None:
    """On a terminal; a file gets it as one line. No control character of a model's gets through."""
    sentence = f"last failure: request {ID} " + "failed \x1b[2Jand\nagain " * 9
    say(sentence, error=error)
    plain = "".join(capsys.readouterr())
    assert plain.count("\n") == 1 and "\x1b" not in plain
    monkeypatch.setattr(output, "Console", terminal_of(80))
    say(sentence, error=error)
    folded = "".join(capsys.readouterr())
    assert ID in folded and folded.split() == plain.split()
    assert max(len(line) for line in folded.splitlines()) <= 80


def test_an_empty_table_has_its_head(capsys: pytest.CaptureFixture[str]) -> None:
    """So that it is seen that there is nothing."""
    show(Namespace(json=False), [], COLUMNS, [])
    assert "worker" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (12, "12 B"), (50_000, "48.8 KiB"), (3 << 20, "3.0 MiB"), (5 << 30, "5.0 GiB")],
)
def test_small_sizes_are_not_nothing(size: int, text: str) -> None:
    """`0.0 MiB` was."""
    assert mib(size) == text


@pytest.mark.parametrize("cell", ["a", "é中", "", "x y", "--", "\u2500"])
def test_a_table_is_that_of_rich(cell: str) -> None:
    """Made without it, as it takes milliseconds for each row."""
    columns = ["model", "v", "reason"]
    for rows in ([], [["m1", cell, "cold"]], [[cell * 30, "1", ""], ["m", cell * 3, cell * 9]]):
        table, printed = _table(columns, rows), io.StringIO()
        Console(file=printed, highlight=False, markup=False, width=1000).print(table)
        expected = [line.rstrip() for line in printed.getvalue().splitlines()]
        assert [line.rstrip() for line in _table_lines(columns, rows)] == expected
