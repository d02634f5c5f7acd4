"""Load and unload again and again: a worker's memory must not grow with it."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.bench.measure import BenchError, percentile
from deploy.bench.models import Crowd, budget_for, mlps, settings
from deploy.bench.observer import device_process, loads_reported
from deploy.bench.probes import Memory, memory_of, slope
from deploy.bench.results import Figure, Target, alone
from deploy.bench.workbench import Case, Workbench
from deploy.local.cluster import Cluster

NAME = "cycles"
MODELS = 3
EVICT_AT_ONCE = {"WARMROUTE_MIN_RESIDENCY_LOADS": "0"}  # a young copy is not kept
TO_SETTLE = 0.2  # of the cycles: allocators take what they will need, and are not counted
TARGET = Target(of="ours", at_most=1.0)
KB = 1e3


@dataclass(frozen=True)
class Size:
    """So many cycles, with models of so many megabytes."""

    cycles: int = 1000
    megabytes: int = 20


def run(bench: Workbench, size: Size = Size()) -> Figure:
    """By how much the memory of a worker with memory for one model grows per load; KB. What no file
    backs: pages of mapped weights belong to the page cache. One round: it is long enough."""
    folder = bench.scratch(NAME)
    models = mlps(bench, MODELS, size.megabytes)
    budget = budget_for(models.samples, 1)
    with bench.store(models.samples) as store:
        with store.cluster(folder, settings(budget, folder / "cache", **EVICT_AT_ONCE)) as cluster:
            grown, took_ms = _cycle(cluster, models, size.cycles)
    counted = grown[round(TO_SETTLE * len(grown)) :]
    anonymous = [each.anonymous / KB for each in counted]
    resident = [each.resident / KB for each in counted]
    return alone(
        f"{size.cycles} loads of {size.megabytes} MB models on a worker with memory for one: "
        "growth of its memory that no file backs, per load",
        "KB/load",
        [slope(anonymous)],
        target=TARGET,
        notes={
            "growth of its resident memory, mapped files included, KB/load": slope(resident),
            "memory that no file backs at the first and the last load counted, MB": (
                f"{anonymous[0] / KB:.1f} and {anonymous[-1] / KB:.1f}"
            ),
            "resident at these, MB": f"{resident[0] / KB:.1f} and {resident[-1] / KB:.1f}",
            "an eviction, a load and an answer, median ms": percentile(took_ms, 0.5),
            "the same, p99 ms": percentile(took_ms, 0.99),
        },
    )


def _cycle(cluster: Cluster, models: Crowd, cycles: int) -> tuple[list[Memory], list[float]]:
    """The memory after each load, and the time of each; BenchError if one did not load."""
    device = device_process(cluster)
    before = loads_reported(cluster)
    grown, took_ms = [], []
    for at in range(cycles):
        took_ms.append(models.ask(cluster, at % MODELS).latency_ms())
        grown.append(memory_of(device))
    loads = loads_reported(cluster) - before
    if loads != cycles or device_process(cluster) != device:
        raise BenchError(f"{loads} loads in {cycles} cycles, or the process was replaced")
    return grown, took_ms


CASE = Case(NAME, run)
