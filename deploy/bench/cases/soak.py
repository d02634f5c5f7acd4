"""Twenty thousand requests beside random loads, unloads, pins and sessions: what does not hold.

See `deploy/bench/soak`. Ours is the number of faults: a wrong or missing answer, a refusal without
a word, a worker over its budget, a model loaded twice at once, a pinned model that was evicted.
"""

from __future__ import annotations

from dataclasses import dataclass

from deploy.bench.cases.crowds import mlps, room_for, settings
from deploy.bench.results import Figure, Note, Target, alone
from deploy.bench.soak.run import Plan, Report, soak
from deploy.bench.workbench import Case, Workbench

NAME = "soak"
TARGET = Target(of="ours", at_most=0)
MOST_SHOWN = 10


@dataclass(frozen=True)
class Size:
    """How much; `room` is that of each worker, in models."""

    requests: int = 20_000
    at_a_time: int = 16
    models: int = 16
    megabytes: int = 1
    room: int = 5
    workers: int = 2
    act_every_s: float = 0.05
    seed: int = 4


def run(bench: Workbench, size: Size = Size()) -> Figure:
    """The number of faults. One round: it is long enough."""
    report = measure(bench, size)
    for fault in report.faults[:MOST_SHOWN]:
        bench.console.print(f"  {fault}", style="red", markup=False)
    return alone(
        f"faults in {size.requests} requests for {size.models} models, room for {size.room} on "
        f"each of {size.workers} workers, beside loads, unloads, pins and sessions, seed "
        f"{size.seed}",
        "faults",
        [float(len(report.faults))],
        target=TARGET,
        notes=_notes(report),
    )


def measure(bench: Workbench, size: Size) -> Report:
    """Run the soak on a cluster of its own."""
    folder = bench.scratch(NAME)
    models = mlps(bench, size.models, size.megabytes)
    given = settings(room_for(models.samples, size.room), folder / "cache")
    plan = Plan(size.requests, size.at_a_time, size.act_every_s, size.seed)
    with (
        bench.store(models.samples) as store,
        store.cluster(folder, given, workers=size.workers) as cluster,
    ):
        return soak(cluster, models, plan)


def _notes(report: Report) -> dict[str, Note]:
    def shown(counts: dict[str, int]) -> str:
        return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"

    return {
        "requests/s": report.asked.ended / report.seconds,
        "right answers": report.asked.right,
        "clear refusals": shown(report.asked.refused),
        "what the operator did": shown(report.done),
        "events": shown(report.kinds),
        "at most so much of a budget used": report.fullest,
        "looks at the residency": report.looks,
    }


CASE = Case(NAME, run)
