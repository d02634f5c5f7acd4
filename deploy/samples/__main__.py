"""`python -m deploy.samples`: download and make every sample below `.warmroute`."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from deploy.samples.catalogue import build_all
from shared import command_line
from shared.errors import WarmrouteError

DOES = "Downloads and makes every sample model below .warmroute."
STATE = Path(__file__).resolve().parents[2] / ".warmroute"


def main() -> int:
    """Exit status: 0, or 1 with one line that says what could not be had."""
    command_line.parse("deploy.samples", DOES, [])
    columns = (TextColumn("{task.description:<40}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("samples", total=None)

        def show(what: str, done: int, total: int) -> None:
            bar.update(task, description=what or "samples", completed=done, total=total)

        try:
            built = build_all(STATE / "samples", STATE / "wheels", show)
        except WarmrouteError as error:
            bar.console.print(f"samples: {error.message}", style="red")
            return 1
    distinct = {entry.sha256: entry.size for sample in built for entry in sample.stamp.files}
    print(f"{len(built)} samples, {sum(distinct.values()) / 1e6:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
