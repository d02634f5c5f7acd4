"""Twenty thousand requests beside random loads, unloads, pins and sessions: what does not hold.

Ours is the number of faults: a wrong or missing answer, a refusal without a code, a worker over its
budget, a model loaded twice at once, a pinned model that was evicted.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from deploy.bench.caching import zipf_trace
from deploy.bench.history import broken_promises, loaded_twice_at_once, read_events, stays
from deploy.bench.models import Crowd, budget_for, mlps, settings
from deploy.bench.observer import observing
from deploy.bench.results import Figure, Note, Target, alone
from deploy.bench.traffic import Asked, Operator, Question, ask_all
from deploy.bench.workbench import Case, Workbench
from deploy.local.cluster import Cluster
from shared.events import Event
from warmroute import Client

NAME = "soak"
TARGET = Target(of="ours", at_most=0)
MOST_SHOWN = 10
EXPONENT = 0.9
READ_EVERY_S = 0.5  # the log is capped
SETTLE_S = 1.0


@dataclass(frozen=True)
class Size:
    """How much; `capacity` is that of each worker, in models."""

    requests: int = 20_000
    at_a_time: int = 16
    models: int = 16
    megabytes: int = 1
    capacity: int = 5
    workers: int = 2
    act_every_s: float = 0.05
    seed: int = 4


def run(bench: Workbench, size: Size = Size()) -> Figure:
    """The number of faults. One round: it is long enough."""
    report = measure(bench, size)
    for fault in report.faults[:MOST_SHOWN]:
        bench.console.print(f"  {fault}", style="red", markup=False)
    return alone(
        f"faults in {size.requests} requests for {size.models} models, memory for {size.capacity} "
        f"on each of {size.workers} workers, beside loads, unloads, pins and sessions, seed "
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
    given = settings(budget_for(models.samples, size.capacity), folder / "cache")
    with (
        bench.store(models.samples) as store,
        store.cluster(folder, given, workers=size.workers) as cluster,
    ):
        return soak(cluster, models, size)


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


@dataclass
class Report:
    """What happened. `faults`: what must not happen; none is the aim."""

    seconds: float
    asked: Asked
    done: Counter[str]
    kinds: Counter[str]
    fullest: float
    looks: int
    faults: list[str] = field(default_factory=list)


def soak(cluster: Cluster, models: Crowd, size: Size) -> Report:
    """Ask and act on a running cluster."""
    questions = [
        Question(sample.name, sample.sample_request(), expected)
        for sample, expected in zip(models.samples, models.expected, strict=True)
    ]
    trace = zipf_trace(len(questions), EXPONENT, size.requests, size.seed)
    with (
        Client(cluster.gateways[0].url, retries=0, connections=size.at_a_time) as client,
        Client(cluster.gateways[0].url, retries=0) as operating,
        _events(cluster) as events,
        observing(cluster.port) as seen,
    ):
        operator = Operator(operating, models.names, random.Random(size.seed))
        with _repeated(operator.act, size.act_every_s):
            started = time.perf_counter()
            asked = ask_all(client, [questions[at] for at in trace], size.at_a_time)
            seconds = time.perf_counter() - started
        operator.release()
        time.sleep(SETTLE_S)
    copies = stays(events)
    faults = [
        *asked.faults, *operator.faults, *seen.over,
        *broken_promises(copies, operator.promises), *loaded_twice_at_once(copies),
    ]  # fmt: skip
    if asked.ended != size.requests:
        faults.append(f"{asked.ended} ends of {size.requests} requests")
    kinds = Counter(event.kind for event in events)
    return Report(seconds, asked, operator.done, kinds, seen.fullest, seen.looks, faults)


@contextmanager
def _repeated(act: Callable[[], object], every_s: float) -> Iterator[None]:
    """Call `act` every so often, on a thread of its own, while the block runs."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(every_s):
            act()

    thread = threading.Thread(target=repeat, name="repeated")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def _events(cluster: Cluster) -> Iterator[list[Event]]:
    """All events that are written while the block runs; complete after it."""
    found: list[Event] = []

    def read() -> None:
        found.extend(read_events(cluster.redis, cluster.keys, found[-1].id if found else "0"))

    with _repeated(read, READ_EVERY_S):
        yield found
    read()


CASE = Case(NAME, run)
