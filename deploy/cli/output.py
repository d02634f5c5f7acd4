"""Answers for people (tables) and for programs (JSON); both go to standard output."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, _SubParsersAction
from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

Subparsers: TypeAlias = "_SubParsersAction[ArgumentParser]"
__all__ = ["Namespace", "Subparsers", "mib", "show", "show_json"]


def show(options: Namespace, document: Any, columns: Sequence[str], rows: list[list[str]]) -> None:
    """The document with --json, else the rows as a table."""
    if options.json:
        show_json(document)
        return
    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:  # a file or a pipe has no width to keep to
        console = Console(highlight=False, markup=False, width=240)
    console.print(table)


def show_json(document: Any) -> None:
    """One JSON document and a line end."""
    print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def mib(size: int) -> str:
    """Bytes as MiB with one decimal."""
    return f"{size / (1 << 20):.1f} MiB"
