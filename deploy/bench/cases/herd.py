"""Many requests for one cold model at the same instant: they must share one load.

The model's bytes are in the workers' disk caches; its program is loaded nowhere. Each round has
fresh workers.
"""

from __future__ import annotations

from dataclasses import dataclass

from deploy.bench.load import volley
from deploy.bench.measure import BenchError, spread
from deploy.bench.models import Crowd, mlps, settings, was_cold
from deploy.bench.observer import loads_reported
from deploy.bench.results import Figure, Note, Target, alone
from deploy.bench.workbench import ROOMY_BYTES, Case, Workbench
from deploy.local.cluster import Cluster

NAME = "herd"
WITHIN_S = 180
TARGET = Target(of="ours", at_most=1)
# Measured elsewhere, on 2 cores of another machine: 200 requests for one cold model of 200 MB.
ELSEWHERE: dict[str, Note] = {
    "LitServe 0.2.19 (2 workers)": "2 loads, 0.86 s for 200 requests",
    "Ray Serve 2.60.0 (2 replicas)": "2 loads, 2.13 s for 200 requests",
    "MLServer 1.7.1 (in process)": "1 load, 1.33 s for 200 requests",
}


@dataclass(frozen=True)
class Size:
    """So many requests at once, for one model on so many workers: one alone could not load twice
    by mistake."""

    at_once: int = 1000
    workers: int = 4
    megabytes: int = 200


def run(bench: Workbench, size: Size = Size()) -> Figure:
    """Loads caused by simultaneous requests for one cold model, and how long all of them took."""
    folder = bench.scratch(NAME)
    models = mlps(bench, 1, size.megabytes)
    loads, seconds = [], []
    with bench.store(models.samples) as store:
        given = settings(ROOMY_BYTES, folder / "cache", WARMROUTE_TIMEOUT_S=str(WITHIN_S))
        (folder / "fill").mkdir()
        with store.cluster(folder / "fill", given) as cluster:
            models.ask(cluster, 0)
        for at in range(bench.rounds):
            (folder / f"round-{at}").mkdir()
            with store.cluster(folder / f"round-{at}", given, workers=size.workers) as cluster:
                caused, took = _stampede(cluster, models, size.at_once)
            loads.append(float(caused))
            seconds.append(took)
            shown = f"{caused} loads, all answered after {took:.3f} s"
            bench.console.print(f"  round {at + 1} of {bench.rounds}: {shown}", highlight=False)
    took_all = spread(seconds)
    figure = alone(
        f"loads caused by {size.at_once} simultaneous requests for one cold model of "
        f"{size.megabytes} MB, {size.workers} workers",
        "loads",
        loads,
        target=TARGET,
        notes={
            "until all are answered, s": took_all.median,
            "the quickest and the slowest round, s": f"{took_all.low:.3f} to {took_all.high:.3f}",
            **{f"measured elsewhere: {name}": what for name, what in ELSEWHERE.items()},
        },
    )
    figure.reached = max(loads) <= 1  # no median: one round with two loads would be a fault
    return figure


def _stampede(cluster: Cluster, models: Crowd, at_once: int) -> tuple[int, float]:
    """Loads, and seconds until all were answered; BenchError if an answer is wrong."""
    load = volley(cluster.port, [models.posts[0]] * at_once, within_s=WITHIN_S)
    for answer in load.kept:
        models.check([answer._replace(post=0)])
    if not was_cold(load):
        raise BenchError(f"{models.names[0]} was warm already")
    return loads_reported(cluster), load.seconds


CASE = Case(NAME, run)
