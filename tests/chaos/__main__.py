"""`python -m tests.chaos`: break a cell of real processes, and check that nothing was lost."""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import logging
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests.chaos.controls import run_controls
from tests.chaos.figures import run_figures
from tests.chaos.ground import Ground
from tests.chaos.run import Plan, run
from tests.chaos.schedule import killing, other_faults, worker_faults
from tests.chaos.sick_worker import run_sick_workers

FIGURE_KILLS = 200


def main() -> int:
    """0 if nothing is wrong, 1 otherwise."""
    told = _arguments()
    faulthandler.register(signal.SIGUSR1)  # where it is, if it should hang
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("botocore").setLevel(logging.WARNING)
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    print(f"logs and history: {folder}", flush=True)
    wrong = run_controls(folder) if told.controls else []
    if told.sick:
        wrong += run_sick_workers(folder / "sick")
    if told.figures:
        wrong += run_figures(folder / "figures")
        told.kills = told.kills or FIGURE_KILLS
    if not (told.controls or told.sick):
        wrong += _chaos(folder / "chaos", told)
    print("\n".join(["FAILED", *wrong] if wrong else ["nothing is wrong"]))
    if not wrong:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if wrong else 0


def _chaos(folder: Path, told: argparse.Namespace) -> list[str]:
    with Ground(folder) as ground:
        report = asyncio.run(run(ground, _plan(told)))
    print("\n".join(report.lines()))
    return report.wrong


def _plan(told: argparse.Namespace) -> Plan:
    if told.kills:
        return Plan(told.seed, lambda ground, _: list(killing(ground)), 0.0, told.kills)
    return Plan(
        told.seed,
        lambda ground, history: [worker_faults(ground, history), other_faults(ground)],
        told.minutes * 60,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="of load and faults")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--kills", type=int, default=0, help="only kills, until there were so many")
    parser.add_argument("--controls", action="store_true", help="faults that miss must be noticed")
    parser.add_argument("--sick", action="store_true", help="one sick worker beside healthy ones")
    parser.add_argument("--figures", action="store_true", help="how long callers wait after kills")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
