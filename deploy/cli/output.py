"""Answers for people (tables) and for programs (JSON); both go to standard output."""

from __future__ import annotations

import sys
import textwrap
from argparse import ArgumentParser, Namespace, _SubParsersAction
from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

Subparsers: TypeAlias = "_SubParsersAction[ArgumentParser]"
__all__ = ["Namespace", "Subparsers", "mib", "say", "show", "show_json"]

Rows = Sequence[Sequence[str]]
BETWEEN = 2  # values on a line
LEAST_TEXT = 24  # that a last column is given before a table is written as lines
SIZES = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))


def show(options: Namespace, document: Any, columns: Sequence[str], rows: Rows) -> None:
    """The document with --json, else the rows as a table.

    No value is cut: where a terminal is too narrow for a table, each row is a few lines.
    """
    if options.json:
        show_json(document)
        return
    clean = [[_one_line(cell) for cell in row] for row in rows]
    console, lines = Console(highlight=False, markup=False), _table_lines(columns, clean)
    needed = cell_len(lines[0])
    last = max((cell_len(row[-1]) for row in clean), default=0)
    width = console.width if console.is_terminal else needed  # a file or a pipe has no width
    if needed <= width and console.encoding.startswith("utf"):
        print("\n".join(lines))
    elif needed - max(last - LEAST_TEXT, 0) <= width:
        Console(highlight=False, markup=False, width=width).print(_table(columns, clean))
    else:
        print("\n".join(_as_lines(columns, row, width) for row in clean))


def _table_lines(columns: Sequence[str], rows: Rows) -> list[str]:
    """As `_table` looks where nothing is folded: for 10,000 rows rich takes ten seconds."""
    sizes = [max(map(cell_len, column)) for column in zip(columns, *rows, strict=True)]

    def line(cells: Sequence[str], fill: str = " ") -> str:
        padded = (cell + fill * (n - cell_len(cell)) for cell, n in zip(cells, sizes, strict=True))
        return f" {(fill * 3).join(padded)} "

    nothing = [""] * len(columns)
    head = [line(nothing), line(columns), line(nothing, "─")]
    return [*head, *map(line, rows), line(nothing)]


def _table(columns: Sequence[str], rows: Rows) -> Table:
    """Only its last column may be folded."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns[:-1]:
        table.add_column(name, no_wrap=True)
    table.add_column(columns[-1], overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def say(text: str, *, error: bool = False) -> None:
    """A line of text, to standard error if `error`. On a terminal it is folded between words.
    Control characters are escaped, so text from a server cannot move the cursor."""
    stream = sys.stderr if error else sys.stdout
    if stream is None:
        return
    said, console = _one_line(text), Console(file=stream)
    if console.is_terminal:
        said = _folded(said, console.width)
    print(said, file=stream, flush=True)


def show_json(document: Any) -> None:
    """One JSON document and a line end."""
    print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def mib(size: int) -> str:
    """Bytes in the unit that suits them, with one decimal: `1.5 MiB`, `12 B`."""
    for name, factor in SIZES:
        if abs(size) >= factor:
            return f"{size / factor:.1f} {name}"
    return f"{size} B"


def _as_lines(columns: Sequence[str], row: Sequence[str], width: int) -> str:
    """`name value` pairs, as many on a line as fit; a value is never divided by us."""
    lines, line = list[str](), row[0]
    for name, cell in zip(columns[1:], row[1:], strict=True):
        if not cell:
            continue
        part = f"{name}: {cell}"
        if cell_len(line) + BETWEEN + cell_len(part) > width:
            lines.append(line)
            line = "   "
        line += " " * BETWEEN + part if line.strip() else " " + part
    return "\n".join(_folded(one, width) for one in [*lines, line])


def _folded(line: str, width: int) -> str:
    """Between words only, so that ids stay whole."""
    indent = " " * (4 + len(line) - len(line.lstrip()))
    return textwrap.fill(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _one_line(cell: str) -> str:
    """Without what would move a terminal's cursor."""
    if cell.isprintable():
        return cell
    return "".join(
        c if c.isprintable() else " " if c in "\n\t" else f"\\x{ord(c):02x}" for c in cell
    )
