"""`python -m deploy.samples`: downloads and makes every sample below `.warmroute`."""

from __future__ import annotations

import sys

from rich.console import Console

from deploy.local.folders import SAMPLES, WHEELS
from deploy.local.progress import steps_bar
from deploy.samples.catalogue import build_all
from shared import command_line
from shared.errors import WarmrouteError

DOES = "Downloads and makes every sample model below .warmroute."


def main() -> int:
    """Exit status: 0, or 1 with one line that says what could not be downloaded or made."""
    command_line.parse("deploy.samples", DOES, [])
    console = Console(stderr=True)
    try:
        with steps_bar(console, "samples") as step:
            built = build_all(SAMPLES, WHEELS, step)
    except WarmrouteError as error:
        console.print(f"samples: {error.message}", style="red", markup=False)
        return 1
    distinct = {entry.sha256: entry.size for sample in built for entry in sample.stamp.files}
    print(f"{len(built)} samples, {sum(distinct.values()) / 1e6:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
