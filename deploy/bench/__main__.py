"""`python -m deploy.bench`: measure, print the figures with their targets, and write them down."""

from __future__ import annotations

import argparse
import gc
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from rich.console import Console

from deploy.bench import results
from deploy.bench.cases import CASES
from deploy.bench.measure import BenchError
from deploy.bench.report import details, machine_facts, table
from deploy.bench.results import Figure
from deploy.bench.workbench import Case, Workbench
from deploy.local.folders import folder_lock
from shared.errors import WarmrouteError
from warmroute import ClientError

FOLDER = Path(__file__).resolve().parents[2] / ".bench"
ROUNDS, SECONDS = 5, 3.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 measured, whatever the figures; 1 something could not be measured, or a target
    was missed by a strict case, or with --strict by any; 130 interrupted."""
    options = _parser().parse_args(arguments)
    if options.list:
        print(*(case.name for case in CASES), sep="\n")
        return 0
    # A warning that the system is to end this run must not leave servers behind.
    signal.signal(signal.SIGTERM, _interrupt)
    gc.freeze()  # the load generator makes no cycles; a collection in it would be measured
    console = Console(highlight=False)
    try:
        with folder_lock(FOLDER):
            bench = Workbench(FOLDER, options.rounds, options.seconds, console)
            figures, failed = measure(bench, options.only or CASES)
    except WarmrouteError as error:
        console.print(f"bench: {error.message}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        return 130
    return exit_status(figures, failed=failed, strict=options.strict)


def exit_status(figures: Mapping[str, Figure], *, failed: bool, strict: bool) -> int:
    """1 if a case failed or, where targets are strict, one was missed."""
    missed = {name for name, figure in figures.items() if figure.reached is False}
    if not strict:
        missed &= {case.name for case in CASES if case.strict}
    return int(failed or bool(missed))


def measure(bench: Workbench, cases: Sequence[Case]) -> tuple[dict[str, Figure], bool]:
    """The figures, each written down as soon as it is known; and whether a case failed."""
    facts = machine_facts()
    figures: dict[str, Figure] = {}
    failed = False
    for case in cases:
        bench.console.print(case.name, style="bold")
        try:
            figures[case.name] = case.run(bench)
        except (BenchError, ClientError, WarmrouteError) as error:
            bench.console.print(f"{case.name}: not measured: {error}", style="red", markup=False)
            failed = True
            continue
        results.save(bench.folder / "results.json", {case.name: figures[case.name]}, facts)
    _show(bench.console, figures, facts)
    return figures, failed


def _show(console: Console, figures: dict[str, Figure], facts: dict[str, results.Note]) -> None:
    for name, figure in figures.items():
        console.print(details(name, figure))
    console.print(table(figures))
    console.print(", ".join(f"{name} {value}" for name, value in facts.items()), style="dim")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.bench", description=__doc__)
    names = ", ".join(case.name for case in CASES)
    parser.add_argument("--only", type=_cases, metavar="NAME[,NAME]", help=f"of {names}")
    parser.add_argument("--rounds", type=_positive_int, default=ROUNDS, help="of each case")
    parser.add_argument("--seconds", type=_positive, default=SECONDS, help="of load in a round")
    parser.add_argument("--strict", action="store_true", help="exit 1 if a target is missed")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    return parser


def _cases(text: str) -> list[Case]:
    cases = {case.name: case for case in CASES}
    unknown = [name for name in text.split(",") if name not in cases]
    if unknown:
        raise argparse.ArgumentTypeError(f"no case {unknown[0]!r}: there are {', '.join(cases)}")
    return [cases[name] for name in text.split(",")]


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: want a number above 0")
    return value


def _positive_int(text: str) -> int:
    return int(_positive(str(int(text))))


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
