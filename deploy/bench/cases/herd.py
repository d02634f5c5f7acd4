"""Many requests for one cold model at the same instant: they must share one load."""

from __future__ import annotations

import time

import redis

from deploy.bench.cases.variants import BASE, NAMES, ask, expected_answers, per_round, was_cold
from deploy.bench.errors import BenchError
from deploy.bench.measure import spread
from deploy.bench.results import Figure, Target, alone
from deploy.bench.servers import Stack
from deploy.bench.workbench import Case, Workbench

NAME = "herd"
AT_ONCE = 200
WORKERS = 2  # one alone could not load twice by mistake
REPORTED_S = 2.5  # a worker reports its loads once a second
TARGET = Target(of="ours", at_most=1)


def run(bench: Workbench) -> Figure:
    """Loads caused by simultaneous requests for one cold model, and how long all of them took."""
    folder = bench.scratch(NAME)
    names = [group[0] for group in per_round(NAMES, bench.rounds, 1)]
    samples = bench.samples([BASE, *names])
    expected = expected_answers(bench, [BASE, *names], folder)
    loads, seconds = [], []
    with (
        bench.store(samples) as store,
        store.stack(folder, workers=WORKERS) as stack,
        redis.Redis.from_url(stack.redis.url) as client,
    ):
        ask(stack, BASE, expected[BASE])
        for at, name in enumerate(names):
            before = loads_reported(stack, client)
            load = ask(stack, name, expected[name], times=AT_ONCE)
            if not was_cold(load):
                raise BenchError(f"{name} was warm already")
            loads.append(float(loads_reported(stack, client) - before))
            seconds.append(load.seconds)
            shown = f"{loads[-1]:g} loads, all answered after {load.seconds:.3f} s"
            bench.console.print(f"  round {at + 1} of {bench.rounds}: {shown}", highlight=False)
    took = spread(seconds)
    figure = alone(
        f"loads caused by {AT_ONCE} simultaneous requests for one cold model, {WORKERS} workers",
        "loads",
        loads,
        target=TARGET,
        notes={
            "until all are answered, s": took.median,
            "the quickest and the slowest round, s": f"{took.low:.3f} to {took.high:.3f}",
        },
    )
    figure.reached = max(loads) <= 1  # no median: one round with two loads would be a fault
    return figure


def loads_reported(stack: Stack, client: redis.Redis) -> int:
    """Loads that the workers have carried out so far, once all of them have said so."""
    time.sleep(REPORTED_S)
    found = 0
    for worker in stack.client.residency():
        found += int(client.hget(stack.keys.worker(worker["id"]), "loads") or 0)
    return found


CASE = Case(NAME, run)
