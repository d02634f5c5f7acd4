"""One seed, one schedule: build the cell, let things go wrong, heal, judge."""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from shared.connection import COMMAND_TIMEOUT_S
from tests.simulation import rest
from tests.simulation.clients import Clients
from tests.simulation.crowds import CALM, CHURNED, NO_FAULTS
from tests.simulation.fleet import Fleet
from tests.simulation.loop import START_S, Stuck
from tests.simulation.nemesis import Nemesis
from tests.simulation.patches import in_place
from tests.simulation.server import SimRedis
from tests.simulation.world import LEASE_S, World

BUSY_S = 10.0  # clients ask and faults strike
SETTLE_S = 2 * LEASE_S + 3.0
REBUILT_S = 2 * LEASE_S
LONGEST_S = 300.0
MOST_BAD = 20
SLACK_MS = 13_000


@dataclass
class Result:
    """What one schedule showed."""

    seed: int
    violations: list[str]
    digest: str
    virtual_s: float
    steps: int
    faults: Counter[str]
    outcomes: Counter[str]
    trace: list[str] = field(repr=False, default_factory=list)


@dataclass
class Totals:
    """What many schedules showed."""

    schedules: int = 0
    virtual_s: float = 0.0
    steps: int = 0
    real_s: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    bad: list[Result] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Count one schedule."""
        self.schedules += 1
        self.virtual_s += result.virtual_s
        self.steps += result.steps
        self.faults += result.faults
        self.outcomes += result.outcomes
        if result.violations:
            self.bad.append(result)


def simulate(seed: int, server: SimRedis, lead: Collection[str] = ()) -> Result:
    """Run the schedule of a seed. `lead`: the faults that it has, FLOODED or CHURNED, or
    CALM, in place of what its seed draws."""
    world = World(seed, server)
    with in_place(world):
        try:
            world.loop.run_until_complete(_within(world, _schedule(world, seed, lead)))
        except Stuck as error:
            world.history.violated(f"stuck: {error}")
        finally:
            violations = list(world.history.violations)  # what is torn down now is no part of it
            world.loop.close()
    return Result(
        seed=seed, violations=violations, digest=world.trace.digest,
        virtual_s=world.loop.now - START_S, steps=world.loop.steps, faults=world.faults,
        outcomes=world.history.counts, trace=list(world.trace.lines),
    )  # fmt: skip


def simulate_all(seeds: Iterable[int], server: SimRedis) -> Totals:
    """Run the schedules of some seeds; enough is enough after MOST_BAD that broke a rule."""
    totals, begun = Totals(), time.perf_counter()
    gc.collect()
    gc.freeze()
    for seed in seeds:
        totals.add(simulate(seed, server))
        if len(totals.bad) == MOST_BAD:
            break
    gc.unfreeze()
    totals.real_s = time.perf_counter() - begun
    return totals


async def _within(world: World, schedule: object) -> None:
    assert asyncio.iscoroutine(schedule)
    try:
        async with asyncio.timeout(LONGEST_S):
            await schedule
    except TimeoutError:
        world.history.violated(f"the schedule did not end in {LONGEST_S:g} virtual seconds")


async def _schedule(world: World, seed: int, lead: Collection[str]) -> None:
    shape = random.Random(f"{seed} shape")
    gateways, workers = shape.randint(1, 3), shape.randint(1, 3)
    fleet = Fleet(world, gateways, 1 if CHURNED in lead else workers)
    keeper = world.loop.create_task(fleet.keep_up(), context=world.network.context)
    nemesis = Nemesis(world, fleet, seed, [fault for fault in lead if fault not in NO_FAULTS])
    clients = Clients(world, fleet, seed, shape.choice([8, 16, 40]), BUSY_S, lead)
    is_calm = CALM in lead or (shape.random() < 0.1 and not lead)
    if not is_calm:
        nemesis.start()
    await asyncio.sleep(BUSY_S)
    nemesis.heal()
    healed_ms = world.server.true_ms
    await asyncio.wait(clients.tasks)
    while not fleet.whole():  # noqa: ASYNC110 - virtual time
        await asyncio.sleep(0.5)
    # A connection that swallowed what was sent is given up only after its timeout.
    swallowed = COMMAND_TIMEOUT_S if world.faults["connection swallowed"] else 0.0
    await asyncio.sleep(SETTLE_S + swallowed)
    while rest.loading(world):  # noqa: ASYNC110 - what a worker held it loads again
        await asyncio.sleep(1.0)
    await rest.end_lasting(world, fleet)
    for task in clients.tasks:
        if (error := task.exception()) is not None:
            world.history.violated(f"a client raised {error!r}")
    world.faults.update({f"{what}: felt": n for what, n in world.sickness.felt.items()})
    world.history.counts.update({f"client {k}": n for k, n in clients.counts.items()})
    rest.at_rest(world, fleet, clients)
    if is_calm:
        rest.calm(world, clients)
    if shape.random() < 0.2:
        rest.flush(world)
        await asyncio.sleep(REBUILT_S)
        rest.rebuilt(world, fleet)
    await fleet.end()
    keeper.cancel()
    await asyncio.sleep(1.0)
    world.history.finish(healed_ms, SLACK_MS)
    rest.after_all(world)
