"""Sixty BERTs of a hundred at the same time on one worker: with memory for all, and for forty.

Plain torch gives the answers they must give, and is the reference for memory: the same models as
modules in one process.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.bench.load import volley
from deploy.bench.measure import BenchError, Pair, spread
from deploy.bench.models import Crowd, post_of, settings
from deploy.bench.observer import device_process, loads_reported, observing
from deploy.bench.plain import running_plain
from deploy.bench.probes import Memory, memory_of
from deploy.bench.results import Figure, Note, compare
from deploy.bench.workbench import ROOMY_BYTES, Case, Store, Workbench
from deploy.local.folders import SAMPLES, WHEELS
from deploy.samples.models import crowd, minilm
from deploy.samples.sample import Sample
from deploy.samples.store import BuiltSample

NAME = "density"
SEED = 60
MB = 1e6
SLACK = 1.05


@dataclass(frozen=True)
class Size:
    """So many models registered, asked at once, and with memory for, in the second part."""

    registered: int = 100
    asked: int = 60
    capacity: int = 40
    light: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of asking all at once."""

    seconds: float
    loads: int
    fullest: float
    memory: Memory
    used: int


def run(bench: Workbench, size: Size = Size()) -> Figure:
    """Resident memory of the worker's device process with all that were asked warm, beside that of
    a process which holds them as plain modules; MB."""
    folder = bench.scratch(NAME)
    made = bench.made([minilm.SAMPLE, *berts(size)])[1:]
    chosen = random.Random(SEED).sample(made, size.asked)
    expected, plain = in_plain_torch(bench, chosen, folder)
    with bench.store(made) as store:
        first = ask_all(store, folder / "first", expected, ROOMY_BYTES)
        roomy, tight = [], []
        for at in range(bench.rounds):
            budget = round(first.used * SLACK)
            roomy.append(ask_all(store, folder / f"roomy-{at}", expected, budget))
            less = first.used - (size.asked - size.capacity) * own_bytes(chosen)
            tight.append(ask_all(store, folder / f"tight-{at}", expected, less))
            bench.show_round(at, _pair(roomy[-1], plain), "MB")
    if any(outcome.loads != size.asked for outcome in roomy):
        raise BenchError(f"{roomy[0].loads} loads of {size.asked} models that all fit")
    return compare(
        f"{size.asked} of {size.registered} MiniLM variants at the same time on one worker, which "
        f"has memory for them and {SLACK - 1:.0%} more: resident memory of its one device process",
        "MB",
        [_pair(outcome, plain) for outcome in roomy],
        reference_is="the same models as plain torch modules in one process",
        notes={
            "what the models need by the worker's ledger, MB": round(first.used / MB),
            "first time, from S3: all answered after, s": first.seconds,
            **_notes(f"memory for {size.asked}", roomy),
            **_notes(f"memory for {size.capacity}", tight),
        },
    )


def berts(size: Size) -> list[Sample]:
    """The models that are registered."""
    return [crowd.bert(number, light=size.light) for number in range(size.registered)]


def own_bytes(models: Sequence[BuiltSample]) -> int:
    """Bytes of weights that one of the models has for itself."""
    held = [{entry.sha256: entry.size for entry in model.stamp.files} for model in models]
    common = set.intersection(*(set(each) for each in held))
    return max(sum(size for sha, size in each.items() if sha not in common) for each in held)


def in_plain_torch(
    bench: Workbench, chosen: Sequence[BuiltSample], folder: Path
) -> tuple[Crowd, Memory]:
    """What plain torch answers, and the memory it takes to."""
    bench.console.print("  loading the models in plain torch", highlight=False)
    names = [sample.name for sample in chosen]
    with running_plain(names, SAMPLES, WHEELS, folder) as plain:
        answers = [plain.answer(name) for name in names]
        return Crowd(chosen, [post_of(name) for name in names], answers), memory_of(plain.pid)


def ask_all(store: Store, folder: Path, models: Crowd, budget: int) -> Outcome:
    """Ask every model at the same time on a fresh worker of that budget; BenchError unless every
    answer is right and the budget was kept all the time."""
    folder.mkdir()
    given = settings(budget, folder.parent / "cache")
    with (
        store.cluster(folder, given) as cluster,
        observing(cluster.port) as seen,
    ):
        load = volley(cluster.port, models.posts)
        models.check(load.kept)
        loads = loads_reported(cluster)
        used = cluster.client().workers()[0]["used_bytes"]
        memory = memory_of(device_process(cluster))
    seen.check()
    return Outcome(load.seconds, loads, seen.fullest, memory, used)


def _pair(ours: Outcome, plain: Memory) -> Pair:
    return Pair(ours.memory.resident / MB, plain.resident / MB)


def _notes(what: str, outcomes: Sequence[Outcome]) -> dict[str, Note]:
    seconds = spread([outcome.seconds for outcome in outcomes])
    loads = spread([outcome.loads for outcome in outcomes])
    return {
        f"{what}: all answered after, s": (
            f"{seconds.median:.2f} ({seconds.low:.2f} to {seconds.high:.2f})"
        ),
        f"{what}: loads": f"{loads.median:.0f} ({loads.low} to {loads.high})",
        f"{what}: at most so much of the budget used": max(each.fullest for each in outcomes),
        f"{what}: resident, not backed by files, MB": round(
            spread([each.memory.anonymous for each in outcomes]).median / MB
        ),
    }


CASE = Case(NAME, run)
