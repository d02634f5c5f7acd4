"""Figures as a person reads them."""

from __future__ import annotations

from collections.abc import Mapping

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from deploy.bench.results import Figure, Measure, Note

Ends = tuple[float, float] | None
_MEASURES: tuple[Measure, ...] = ("ratio", "difference")


def table(figures: Mapping[str, Figure]) -> Table:
    """One row per figure: medians, and in brackets the lowest and highest round."""
    rows = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="median (lowest to highest)")
    rows.add_column("name")
    rows.add_column("unit")
    for column in ("ours", "reference", "result"):
        rows.add_column(column, justify="right")
    rows.add_column("target")
    for name, figure in figures.items():
        rows.add_row(
            name,
            figure.unit,
            _with_ends(figure.ours, figure.ours_spread),
            _with_ends(figure.reference, figure.reference_spread),
            _result(figure),
            _verdict(figure),
        )
    return rows


def details(name: str, figure: Figure) -> RenderableType:
    """What a figure is and all that was noted beside it."""
    lines: list[RenderableType] = [Text(f"{name}: {figure.title}", style="bold")]
    if figure.reference_is:
        lines.append(Text(f"  reference: {figure.reference_is}"))
    lines += [Text(f"  {what}: {_noted(value)}") for what, value in figure.notes.items()]
    return Group(*lines)


def _result(figure: Figure) -> str:
    """The measure that the target is about, else the ratio."""
    of = figure.target.of if figure.target and figure.target.of in _MEASURES else "ratio"
    value = figure.measure(of)
    if value is None:
        return "-"
    ends = figure.ratio_spread if of == "ratio" else figure.difference_spread
    return f"{of} {_with_ends(value, ends)}"


def _verdict(figure: Figure) -> Text:
    if figure.target is None:
        return Text("-")
    if figure.reached:
        return Text(f"{figure.target}: reached", style="green")
    return Text(f"{figure.target}: MISSED", style="bold red")


def _with_ends(value: float | None, ends: Ends) -> str:
    if value is None:
        return "-"
    if ends is None or ends[0] == ends[1]:
        return number(value)
    return f"{number(value)} ({number(ends[0])} to {number(ends[1])})"


def number(value: float) -> str:
    """Three digits that count, more only for what is large."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}".rstrip(".")


def _noted(value: Note) -> str:
    return value if isinstance(value, str) else number(value)
