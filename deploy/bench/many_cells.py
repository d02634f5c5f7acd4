"""Simulates a fleet of many cells on a Zipf trace: `python -m deploy.bench.many_cells`.

    names of models -> rendezvous.order, as gateways compute it -> the cell of each
    trace           -> the simulated cell of each request       -> warm, cold, refused; load, memory
    a cell is added, then one is removed                        -> what moves

The same trace then runs on one cell with all the workers, which is the best that can be had.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from statistics import median

import numpy as np

from deploy.bench.simulated_cell import Counts, SimulatedCell, Times
from shared.rendezvous import order

NEW = "new"
CHOICES = 3  # of cells that are kept for each model: one may be removed, and one be new
SPREAD = 1.0  # of the logarithm of sizes
HELD = 0.3  # of the bytes of all models, by all workers together
SEED = 12
Table = dict[str, str]


@dataclass(frozen=True)
class Fleet:
    """What is simulated. `busy`: the share of time for which the devices work; `requests`: of each
    of the four parts of a trace (warming up, measured, after a cell was added, after one was
    removed)."""

    cells: int = 100
    workers: int = 10_000
    models: int = 1_000_000
    requests: int = 1_000_000
    zipf: float = 0.8
    busy: float = 0.1

    @property
    def names(self) -> list[str]:
        """Of the cells."""
        return [f"cell-{number}" for number in range(self.cells)]


def homes(cells: Sequence[str], models: int) -> list[tuple[str, ...]]:
    """The first cells in the order of each model."""
    parts = [range(at, min(at + 10_000, models)) for at in range(0, models, 10_000)]
    with ProcessPoolExecutor() as pool:
        found = pool.map(partial(_homes, dict.fromkeys(cells, 1.0)), parts)
        return [first for part in found for first in part]


def _homes(weights: dict[str, float], models: range) -> list[tuple[str, ...]]:
    return [tuple(order(f"model-{model}", weights)[:CHOICES]) for model in models]


class Simulation:
    """One trace over some cells, in parts."""

    def __init__(
        self, fleet: Fleet, orders: Sequence[tuple[str, ...]], cells: Sequence[str]
    ) -> None:
        self._fleet = fleet
        self._orders = orders
        self._dice = np.random.default_rng(SEED)
        sizes = self._dice.lognormal(0.0, SPREAD, fleet.models)
        budget = HELD * sizes.sum() / fleet.workers
        self.sizes: list[float] = np.minimum(sizes, budget).tolist()
        self._each = partial(SimulatedCell, fleet.workers // len(cells), budget, Times())
        self.cells = {name: self._each(number) for number, name in enumerate(cells)}
        ranks = np.arange(1, fleet.models + 1) ** -fleet.zipf
        self._popular = np.cumsum(ranks) / ranks.sum()
        self._now = 0.0
        self._gap_s = Times().service_s / (fleet.workers * fleet.busy)

    def home(self, model: int) -> str:
        """The cell of a model: the first of its order that is there."""
        return next(cell for cell in self._orders[model] if cell in self.cells)

    def add(self, name: str) -> None:
        """A cell that holds nothing."""
        self.cells[name] = self._each(len(self.cells))

    def run(self) -> dict[str, Counts]:
        """A part of the trace; what came of it, by cell."""
        for cell in self.cells.values():
            cell.counts = Counts()
        drawn = np.searchsorted(self._popular, self._dice.random(self._fleet.requests))
        for model in drawn.tolist():
            self._now += self._gap_s
            self.cells[self.home(model)].ask(model, self.sizes[model], self._now)
        return {name: cell.counts for name, cell in self.cells.items()}

    def moved(self, before: Sequence[str]) -> set[int]:
        """The models that have another home than before."""
        return {model for model, home in enumerate(before) if self.home(model) != home}


def share(counts: dict[str, Counts], field: str) -> float:
    """Of the requests of all cells."""
    asked = sum(each.asked for each in counts.values())
    return sum(int(getattr(each, field)) for each in counts.values()) / asked


def spread(values: Sequence[float]) -> str:
    """The smallest, the middle and the largest, as multiples of the mean."""
    mean = sum(values) / len(values)
    return " / ".join(f"{each / mean:.2f}" for each in (min(values), median(values), max(values)))


def simulate(fleet: Fleet, orders: Sequence[tuple[str, ...]]) -> Table:
    """The figures of a fleet."""
    run = Simulation(fleet, orders, fleet.names)
    before = [run.home(model) for model in range(fleet.models)]
    run.run()
    calm = run.run()
    names = Counter(before)
    asked = [each.asked for each in calm.values()]
    busiest = max(asked) * fleet.cells / fleet.requests
    shown = {
        "models of a cell": spread([names[cell] for cell in fleet.names]),
        "bytes held by a cell": spread([cell.held for cell in run.cells.values()]),
        "requests of a cell": spread(asked),
        "busiest cell, of its devices' time": f"{fleet.busy * busiest:.0%}",
        "warm": f"{share(calm, 'warm'):.1%}",
        "refused": f"{share(calm, 'refused'):.1%}",
    }
    return shown | _ideal(fleet) | _added(run, before) | _removed(run)


def _ideal(fleet: Fleet) -> Table:
    one = Simulation(fleet, [("one",)] * fleet.models, ["one"])
    one.run()
    counts = one.run()
    return {
        "warm, one cell": f"{share(counts, 'warm'):.1%}",
        "refused, one cell": f"{share(counts, 'refused'):.1%}",
    }


def _added(run: Simulation, before: Sequence[str]) -> Table:
    run.add(NEW)
    moved = run.moved(before)
    if any(run.home(model) != NEW for model in moved):
        raise AssertionError("a model moved between two cells that stay")
    held = sum(cell.held for cell in run.cells.values())
    left = sum(cell.size_held(moved) for cell in run.cells.values())
    counts = run.run()
    return {
        "added: models that move": f"{len(moved) / len(before):.2%}",
        "added: bytes held where they were": f"{left / held:.2%}",
        "added: warm": f"{share(counts, 'warm'):.1%}",
        "added: warm in the new cell": f"{counts[NEW].warm / max(1, counts[NEW].asked):.1%}",
    }


def _removed(run: Simulation) -> Table:
    before = [run.home(model) for model in range(len(run.sizes))]
    gone = next(iter(run.cells))
    del run.cells[gone]
    moved = run.moved(before)
    if any(before[model] != gone for model in moved):
        raise AssertionError("a model moved that was not in the cell that went")
    counts = run.run()
    most = Counter(run.home(model) for model in moved).most_common(1)[0][1]
    return {
        "removed: models that move": f"{len(moved) / len(before):.2%}",
        "removed: of them, most to one cell": f"{most / len(moved):.1%}",
        "removed: warm": f"{share(counts, 'warm'):.1%}",
    }


def main(given: Sequence[str] | None = None) -> int:
    """Print a table: a column for each exponent."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    for name in ("cells", "workers", "models", "requests"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Fleet, name))
    parser.add_argument("--busy", type=float, default=Fleet.busy)
    parser.add_argument("--zipf", type=float, nargs="+", default=[0.6, 0.8, 1.0])
    options = vars(parser.parse_args(given))
    exponents = options.pop("zipf")
    fleets = [Fleet(zipf=zipf, **options) for zipf in exponents]
    orders = homes([*fleets[0].names, NEW], fleets[0].models)
    columns = [simulate(fleet, orders) for fleet in fleets]
    lines = [["", *(f"Zipf {zipf:g}" for zipf in exponents)], ["---"] * (1 + len(columns))]
    lines += [[row, *(column[row] for column in columns)] for row in columns[0]]
    print("\n".join(f"| {' | '.join(line)} |" for line in lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
