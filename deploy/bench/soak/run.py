"""The soak itself: asks, acts and watches, and then says what did not hold."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import uvloop

from deploy.bench.caching import zipf_trace
from deploy.bench.cases.crowds import Crowd
from deploy.bench.history import read_events, stays
from deploy.bench.operator import Operator
from deploy.bench.soak.acting import Actor
from deploy.bench.soak.asking import Asked, ask_all
from deploy.bench.soak.checks import broken_promises, loaded_twice_at_once
from deploy.bench.watch import watched
from deploy.local.cluster import Cluster
from shared.events import Event

EXPONENT = 0.9
READ_EVERY_S = 0.5  # the log is capped
SETTLE_S = 1.0


@dataclass(frozen=True)
class Plan:
    """How much, and by which seed."""

    requests: int
    at_a_time: int
    act_every_s: float
    seed: int


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


def soak(cluster: Cluster, models: Crowd, plan: Plan) -> Report:
    """Ask and act as planned on a running cluster."""
    order = iter(zipf_trace(len(models.names), EXPONENT, plan.requests, plan.seed))
    with (
        Operator(cluster.port) as operator,
        _events(cluster) as events,
        watched(cluster.port) as seen,
    ):
        actor = Actor(operator, models.names, random.Random(plan.seed))
        with _acting(actor, plan.act_every_s):
            begun = time.perf_counter()
            asked = uvloop.run(ask_all(cluster.port, models, order, plan.at_a_time))
            seconds = time.perf_counter() - begun
        actor.release()
        time.sleep(SETTLE_S)
    copies = stays(events)
    faults = [
        *asked.faults, *actor.faults, *seen.over,
        *broken_promises(copies, actor.promises), *loaded_twice_at_once(copies),
    ]  # fmt: skip
    if asked.ended != plan.requests:
        faults.append(f"{asked.ended} ends of {plan.requests} requests")
    kinds = Counter(event.kind for event in events)
    return Report(seconds, asked, actor.done, kinds, seen.fullest, seen.looks, faults)


@contextmanager
def _acting(actor: Actor, every_s: float) -> Iterator[None]:
    """Act every so often, on a thread of its own, while the block runs."""

    def act() -> None:
        while not ended.wait(every_s):
            actor.act()

    ended = threading.Event()
    thread = threading.Thread(target=act, name="operator")
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
    ended = threading.Event()

    def read() -> None:
        found.extend(read_events(cluster.redis, cluster.keys, found[-1].id if found else "0"))

    def follow() -> None:
        while not ended.wait(READ_EVERY_S):
            read()
        read()

    thread = threading.Thread(target=follow, name="events")
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()
