"""A figure: what was measured, against what, and whether that reaches its target."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from deploy.bench.measure import Pair, Spread, spread

Measure = Literal["ours", "ratio", "difference"]
Note = str | float | int


class Target(msgspec.Struct, frozen=True, omit_defaults=True):
    """A bound on one measure of a figure."""

    of: Measure
    at_least: float | None = None
    at_most: float | None = None

    def met(self, value: float) -> bool:
        """Whether `value` keeps within the bounds."""
        low = self.at_least is None or value >= self.at_least
        return low and (self.at_most is None or value <= self.at_most)

    def __str__(self) -> str:
        bounds = [f">= {self.at_least:g}"] if self.at_least is not None else []
        bounds += [f"<= {self.at_most:g}"] if self.at_most is not None else []
        return f"{self.of} {' and '.join(bounds)}"


class Figure(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One measurement. Medians stand alone; the spreads beside them are (lowest, highest).

    ratio is (ours - allowance) / reference, difference is ours - reference, each taken within a
    round. `rounds` holds [ours, reference] of each.
    """

    title: str
    unit: str
    ours: float
    reference: float | None
    ratio: float | None
    difference: float | None = None
    ours_spread: tuple[float, float]
    reference_spread: tuple[float, float] | None = None
    ratio_spread: tuple[float, float] | None = None
    difference_spread: tuple[float, float] | None = None
    reference_is: str = ""
    allowance: float = 0.0
    target: Target | None = None
    reached: bool | None = None
    rounds: list[list[float]] = []
    notes: dict[str, Note] = {}
    machine: dict[str, Note] = {}
    measured_at: str = ""

    def measure(self, of: Measure) -> float | None:
        """The median of one of the three."""
        found: float | None = getattr(self, of)
        return found


def compare(
    title: str,
    unit: str,
    pairs: Sequence[Pair],
    *,
    reference_is: str,
    target: Target | None = None,
    allowance: float = 0.0,
    notes: Mapping[str, Note] | None = None,
) -> Figure:
    """The figure of rounds that had a reference."""
    ours, reference = spread([p.ours for p in pairs]), spread([p.reference for p in pairs])
    ratio = spread([(pair.ours - allowance) / pair.reference for pair in pairs])
    difference = spread([pair.ours - pair.reference for pair in pairs])
    figure = Figure(
        title=title,
        unit=unit,
        ours=ours.median,
        reference=reference.median,
        ratio=ratio.median,
        difference=difference.median,
        ours_spread=_ends(ours),
        reference_spread=_ends(reference),
        ratio_spread=_ends(ratio),
        difference_spread=_ends(difference),
        reference_is=reference_is,
        allowance=allowance,
        rounds=[list(pair) for pair in pairs],
        notes=dict(notes or {}),
    )
    return judge(figure, target)


def alone(
    title: str,
    unit: str,
    values: Sequence[float],
    *,
    target: Target | None = None,
    notes: Mapping[str, Note] | None = None,
) -> Figure:
    """The figure of rounds without a reference."""
    ours = spread(values)
    figure = Figure(
        title=title,
        unit=unit,
        ours=ours.median,
        reference=None,
        ratio=None,
        ours_spread=_ends(ours),
        rounds=[[value] for value in values],
        notes=dict(notes or {}),
    )
    return judge(figure, target)


def judge(figure: Figure, target: Target | None) -> Figure:
    """Set the target beside the figure, and whether its median reaches it."""
    value = figure.measure(target.of) if target else None
    figure.target = target
    figure.reached = None if target is None or value is None else target.met(value)
    return figure


def save(path: Path, figures: Mapping[str, Figure], machine: Mapping[str, Note]) -> None:
    """Write `figures` into the file, each with the machine it was measured on. Figures of other
    names that stand there stay, so that measuring one alone does not lose the rest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        entries = msgspec.json.decode(path.read_bytes(), type=dict[str, msgspec.Raw])
    except (FileNotFoundError, msgspec.MsgspecError):
        entries = {}
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    for name, figure in figures.items():
        figure.machine, figure.measured_at = dict(machine), now
        entries[name] = msgspec.Raw(msgspec.json.encode(figure))
    aside = path.with_suffix(".new")
    aside.write_bytes(msgspec.json.format(msgspec.json.encode(entries), indent=1) + b"\n")
    aside.replace(path)


def load(path: Path) -> dict[str, Figure]:
    """The figures of a file."""
    return msgspec.json.decode(path.read_bytes(), type=dict[str, Figure])


def _ends(values: Spread) -> tuple[float, float]:
    return values.low, values.high
