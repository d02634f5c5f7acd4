"""Limits of what was measured: each beside its value, and the worst of them as the figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deploy.bench.report import number
from deploy.bench.results import Figure, Note, Target, alone

WITHIN = Target(of="ours", at_most=1.0)
NOTHING = 1e-9  # what at least a value counts as, where a share is taken of it


class Limit(NamedTuple):
    """What was measured, in which unit, and its bound: at most, or `at_least`."""

    what: str
    value: float
    unit: str
    bound: float
    at_least: bool = False

    @property
    def share(self) -> float:
        """Of the bound: above 1 it is missed. A bound of 0 bears nothing."""
        if self.at_least:
            return self.bound / max(self.value, NOTHING)
        return self.value / max(self.bound, NOTHING)

    @property
    def is_met(self) -> bool:
        """Whether the value keeps within its bound."""
        return self.share <= 1.0


def figure_of(title: str, limits: Sequence[Limit], notes: Mapping[str, Note]) -> Figure:
    """The largest share of its bound that any value takes; those that are missed are notes."""
    missed = {f"MISSED: {each.what}": _said(each) for each in limits if not each.is_met}
    worst = max(limits, key=lambda each: each.share)
    return alone(
        title, "share of its limit", [worst.share], target=WITHIN,
        notes={"the worst": f"{worst.what}: {_said(worst)}", **missed, **notes},
    )  # fmt: skip


def show(console: Console, title: str, limits: Sequence[Limit]) -> None:
    """A row for each, the missed ones marked."""
    rows = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title)
    rows.add_column("what")
    for column in ("measured", "limit"):
        rows.add_column(column, justify="right")
    rows.add_column("")
    for each in limits:
        met = Text("reached", style="green") if each.is_met else Text("MISSED", style="bold red")
        sign = ">=" if each.at_least else "<="
        bound = f"{sign} {each.bound:g} {each.unit}"
        rows.add_row(each.what, f"{number(each.value)} {each.unit}", bound, met)
    console.print(rows)


def _said(limit: Limit) -> str:
    sign = ">=" if limit.at_least else "<="
    return f"{number(limit.value)} {limit.unit}, {sign} {limit.bound:g}"
