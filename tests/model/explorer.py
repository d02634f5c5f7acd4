"""The swarm explorer: many short random runs, each with some of the rules and its own weights."""

from __future__ import annotations

import asyncio
import random
import re
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import shared.gateway_scripts
import shared.housekeeping_scripts
import shared.worker_scripts
from shared.errors import Unavailable
from tests.helpers.cell import Cell, open_cell
from tests.helpers.leaks import forget_cell
from tests.model import (
    affinity_rules,
    before_rules,
    clock,
    copy_rules,
    gateway_rules,
    invariants,
    kept_rules,
    lease_rules,
    load_end_rules,
    load_rules,
    place_rules,
    session_rules,
    sweep_rules,
    worker_rules,
    world_rules,
)
from tests.model.prediction import CLAIM_TTL, ORDER_TTL, Wrong, must
from tests.model.run import LONGEST_TIMEOUT_MS, Choices, Plan, Run, Step
from tests.model.shrink import LARGEST, shrunk
from tests.model.state import State
from tests.model.virtual import Mutant, VirtualScripts

Rule = Callable[[Run, Choices], Awaitable[None]]
STEPS, CHUNK = 120, 128
# How often each is chosen, before a run's own weights. What destroys is rare, so that runs get far.
_ALWAYS = {
    place_rules.place: 6, lease_rules.register: 2, worker_rules.read: 6, worker_rules.begin: 7,
    world_rules.tick: 3,
}  # fmt: skip
_OPTIONAL = {
    load_end_rules.announce: 6, load_rules.claim_load: 5, load_rules.take_order: 2,
    load_rules.take_told: 2, load_rules.reload: 2, load_rules.renew_load: 2,
    load_rules.refuse_load: 2,
    load_end_rules.fail_load: 2, worker_rules.complete: 5, lease_rules.heartbeat: 3,
    lease_rules.renew_lease: 2,
    worker_rules.fence_worker: 2, worker_rules.leave: 1, copy_rules.retire: 3, sweep_rules.reap: 3,
    sweep_rules.sweep: 4, gateway_rules.cancel: 3, gateway_rules.subscribe: 3,
    gateway_rules.gateway_beat: 2, gateway_rules.record_outcomes: 1, gateway_rules.hand_over: 1,
    world_rules.write_ingress: 3, world_rules.read_door: 2, world_rules.fill_memory: 1,
    kept_rules.drop_kept: 2, kept_rules.list_letters: 1,
    world_rules.publish_reply: 3, world_rules.replay: 2, before_rules.crashed_before: 2,
    before_rules.ill_before: 1, before_rules.retried_before: 1,
    world_rules.buried_before: 1, world_rules.lose_stream: 0.5, clock.keep_clock: 1,
    world_rules.lose_everything: 0.2,
}  # fmt: skip
# Of these a run has few: most of what they do is done to what the others have built.
_RARE = {
    affinity_rules.route_by_affinity: 3, copy_rules.order_copy: 2, load_end_rules.record_stats: 1,
    copy_rules.order_unload: 1, copy_rules.set_policy: 1, copy_rules.reconcile: 3,
    session_rules.open_session: 2, session_rules.keep_session: 1, session_rules.close_session: 1,
    world_rules.kin_before: 3,
}  # fmt: skip
# What these do, they do for another worker, or beside another model.
_FOR_OTHERS, _WITH_OTHERS = (
    {"route_by_affinity", "place", "refuse_load", "reload", "open_session"},
    {"route_by_affinity", "open_session"},
)


async def settle(run: Run, c: Choices) -> None:
    """Every worker falls silent and every deadline passes. One gateway is enough to end it all."""
    run.now += LONGEST_TIMEOUT_MS + 600_000
    run.scripts.now_ms = run.now
    await world_rules.attend(run)
    while run.state.leases or run.state.deadlines:
        before = _to_end(run.state)
        await sweep_rules.reap(run, c)
        await sweep_rules.sweep(run, c)
        now = _to_end(run.state)
        must(now < before or sum(now) < sum(before), f"I6: nothing ends any more: {run.state}")
    run.now += ORDER_TTL + CLAIM_TTL
    run.scripts.now_ms = run.now
    await world_rules.attend(run)
    await sweep_rules.sweep(run, c)
    while run.state.waits or run.state.orders:
        before = _to_end(run.state)
        await sweep_rules.sweep(run, c)
        must(_to_end(run.state) < before, f"the cold queue never empties: {run.state}")
    while run.state.sessions:
        await copy_rules.reconcile(run, c)
    invariants.check_quiet(run.state)


def _to_end(state: State) -> tuple[int, ...]:
    """What is left of a cell in which nobody is alive."""
    held = [len(refs) for part in (state.holds, state.loading) for refs in part.values()]
    queue = len(state.orders) + len(state.waits)
    return len(state.leases), sum(held), len(invariants.live(state)), len(state.deadlines), queue


RULES: dict[str, Rule] = {rule.__name__: rule for rule in (*_ALWAYS, *_OPTIONAL, *_RARE, settle)}


@dataclass(frozen=True)
class Failure:
    """A run that went wrong."""

    seed: int
    plan: Plan
    message: str
    trace: tuple[str, ...]

    def __str__(self) -> str:
        steps = "".join(f"    {step!r},\n" for step in self.plan.steps)
        head = ", ".join(f"{n}={v}" for n, v in self.plan._asdict().items() if n != "steps")
        calls = "".join(f"  {line}\n" for line in self.trace)
        return (
            f"{self.message}\nwhat was done (ms, script, answer):\n{calls}"
            f"to repeat it (seed {self.seed}):\nPlan({head}, steps=(\n{steps}))"
        )


def plan(seed: int, favour: Sequence[str] = ()) -> Plan:
    """Each optional rule is kept with probability 1/2, a rare one with 1/6, a favoured one always;
    weights differ."""
    dice = random.Random(seed)
    chances = {rule: 0.5 for rule in _OPTIONAL} | {rule: 1 / 6 for rule in _RARE}
    weights_of = _OPTIONAL | _RARE
    kept = {
        rule: weights_of[rule]
        for rule, chance in chances.items()
        if rule.__name__ in favour or dice.random() < chance
    }
    base = {rule.__name__: weight for rule, weight in (_ALWAYS | kept).items()}
    weights = [
        weight * dice.choice((1, 2, 4)) * (5 if name in favour else 1)
        for name, weight in base.items()
    ]
    refs, workers = dice.choice((1, 1, 2, 3)), dice.choice((1, 2, 2, 3))
    refs = max(refs, 2) if _WITH_OTHERS & set(favour) else refs
    workers = max(workers, 2) if _FOR_OTHERS & set(favour) else workers
    warm = ["announce"] * dice.choice((0, 1, 2, 3))
    names = [*["register"] * workers, "gateway_beat", *warm]
    names += dice.choices(list(base), weights, k=STEPS)
    steps = tuple(Step(name, dice.randrange(LARGEST)) for name in names)
    chunk = dice.choice((refs, CHUNK))  # a sweep looks at so many models, in any order
    return Plan(chunk, refs, workers, dice.choice((1, 2, 3)), steps)


class Explorer:
    """Runs plans against one Redis. Not for use inside of an event loop."""

    def __init__(self, url: str, mutant: Mutant | None = None) -> None:
        self._url = url
        self._loop = asyncio.Runner()
        self.outcomes: Counter[str] = Counter()
        self.steps = 0
        self._cell = self._loop.run(self._open())
        self._scripts = VirtualScripts(self._cell.channel, self._cell.keys, mutant)

    def plant(self, mutant: Mutant) -> None:
        """From here on the scripts have this fault. LookupError: it fits no more."""
        mutant.read(mutant.file)
        self._scripts = VirtualScripts(self._cell.channel, self._cell.keys, mutant)

    async def _open(self) -> Cell:
        return open_cell(self._url, f"m{secrets.token_hex(4)}")

    def close(self) -> None:
        """Leave nothing behind."""
        self._loop.run(forget_cell(self._cell.client, self._cell.keys))
        self._loop.run(self._cell.close())
        self._loop.close()

    def shrunk(self, failure: Failure) -> Failure:
        """The same failure of a shorter run."""
        kind = _kind(failure.message)

        def fails(plan: Plan) -> bool:
            try:
                again = self.run(plan, failure.seed)
            except RuntimeError:
                return False
            return again is not None and _kind(again.message) == kind

        plan = shrunk(failure.plan, fails, sorted(RULES))
        return self.run(plan, failure.seed) or failure

    def run(self, plan: Plan, seed: int = 0) -> Failure | None:
        """What went wrong, if anything did."""
        modules = (shared.gateway_scripts, shared.housekeeping_scripts, shared.worker_scripts)
        before = shared.gateway_scripts.CHUNK
        for module in modules:
            module.CHUNK = plan.chunk
        try:
            return self._loop.run(self._run(plan, seed))
        finally:
            for module in modules:
                module.CHUNK = before

    async def _run(self, plan: Plan, seed: int) -> Failure | None:
        await forget_cell(self._cell.client, self._cell.keys)
        scripts = self._scripts
        run = Run(scripts, self._cell.keys, plan, self.outcomes)
        for step in (*plan.steps, Step("settle")):
            self.steps += 1
            run.now += 1  # so that no two steps make the same token
            scripts.now_ms = run.now
            try:
                await RULES[step.rule](run, Choices(step.number))
            except (Wrong, Unavailable) as error:
                message = f"{step.rule}: {error}"
                return Failure(seed, plan, message, tuple(run.trace))
            except Exception as error:
                failure = Failure(seed, plan, f"{step.rule}: {error!r}", tuple(run.trace))
                raise RuntimeError(str(failure)) from error
        return None


def _kind(message: str) -> str:
    """What went wrong, without the names of what it went wrong with."""
    return re.sub(r"[0-9]+|\[.*", "", message)[:60]
