"""How long callers wait when a worker dies: the case W6, a warm set of models on two workers.

16 callers ask 20 small models as fast as they are answered and retry nothing; whatever is not a
200 with the right answer counts as failed. Then one of the two workers is killed: its device
process alone (its parent starts another), or all of it (somebody starts it again later).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.chaos.asking import BROKEN, Door, Question
from tests.helpers.models import Array, Mlp, publish_mlp
from tests.helpers.pair import Process
from tests.helpers.stack import Stack

CALLERS, MODELS = 16, 20
MODEL_BYTES, ROWS = 1 << 20, 32  # some ms of work each
LIMIT_S = 40.0
BEFORE_S, AFTER_S = 3.0, 8.0
DEVICE_TARGET_S, TRAFFIC_TARGET_S, WORKER_SLACK_S = 2.0, 5.0, 1.0


@dataclass
class Asked:
    """One request. `wrong` says why it failed."""

    begun: float
    ended: float
    worker: str
    wrong: str = ""

    @property
    def took(self) -> float:
        return self.ended - self.begun


@dataclass
class Kill:
    """One kill under load, and what callers saw. Times in seconds."""

    at: float
    victim: str
    asked: list[Asked] = field(default_factory=list)

    @property
    def own_work(self) -> float:
        """What the slowest of a hundred took before the kill."""
        took = sorted(a.took for a in self.asked if a.ended < self.at)
        return took[int(len(took) * 0.99)]

    @property
    def longest(self) -> float:
        """Of those that ended after it."""
        return max(a.took for a in self.asked if a.ended >= self.at)

    @property
    def failed(self) -> list[str]:
        return [a.wrong for a in self.asked if a.wrong]

    @property
    def back(self) -> float:
        """Until the victim answered something that was asked after the kill; inf if never."""
        ends = [a.ended for a in self.asked if a.worker == self.victim and a.begun > self.at + 0.1]
        return min(ends, default=float("inf")) - self.at


class Prepared:
    """A question whose bytes and whose answer are computed once: the load should be light."""

    def __init__(self, model: Mlp, rows: int = ROWS) -> None:
        inputs = model.question(rows=rows)
        self.path = f"/v2/models/{model.name}/infer"
        self.body, self.headers = Question(model, inputs).binary(LIMIT_S)
        self._answer = model.answer(inputs)

    def right(self, outputs: Mapping[str, Array]) -> bool:
        """To rounding."""
        return bool(np.allclose(outputs["y"], self._answer, rtol=1e-4, atol=1e-5))


class Case:
    """Two warm workers, and the load on them."""

    def __init__(self, folder: Path, lease_s: float) -> None:
        (folder / "models").mkdir(parents=True)
        self.stack = Stack(
            folder, f"file://{folder}/models",
            {"WARMROUTE_LEASE_S": str(lease_s), "WARMROUTE_MEMORY_BYTES": str(256 << 20)},
        )  # fmt: skip
        models = [
            publish_mlp(self.stack.repository, folder, size=MODEL_BYTES) for _ in range(MODELS)
        ]
        self.questions = [Prepared(model) for model in models]

    def start(self) -> None:
        """Both workers, a gateway, and every model warm."""
        self.stack.add_gateway()
        for _ in range(2):
            self.stack.add_worker()
        asyncio.run(self._drive(lambda: None, BEFORE_S, 0.0))

    def kill(self, act: Callable[[Process], object], worker: Process, after_s: float) -> Kill:
        """Load, `act` on the worker in the midst of it, and load for `after_s` more."""
        found = Kill(0.0, worker.name)

        def strike() -> None:
            found.at = time.monotonic()
            act(worker)

        found.asked = asyncio.run(self._drive(strike, BEFORE_S, after_s))
        return found

    async def _drive(
        self, strike: Callable[[], None], before_s: float, after_s: float
    ) -> list[Asked]:
        asked: list[Asked] = []
        dice = random.Random(len(self.questions))
        door = Door([self.stack.gateways[0].url], dice)
        ends = time.monotonic() + before_s + after_s
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(CALLERS):
                    group.create_task(self._caller(door, dice, ends, asked))
                await asyncio.sleep(before_s)
                await asyncio.to_thread(strike)
        finally:
            await door.close()
        return asked

    async def _caller(
        self, door: Door, dice: random.Random, ends: float, asked: list[Asked]
    ) -> None:
        while time.monotonic() < ends:
            asked.append(await ask(door, dice.choice(self.questions)))


async def ask(door: Door, question: Prepared) -> Asked:
    """One request."""
    begun = time.monotonic()
    try:
        said = await door.ask("POST", question.path, question.body, question.headers)
    except BROKEN as error:
        return Asked(begun, time.monotonic(), "", type(error).__name__)
    wrong = ""
    if said.status != 200:
        wrong = f"{said.status} {said.code}"
    elif not question.right(said.outputs):
        wrong = "a wrong answer"
    return Asked(begun, time.monotonic(), said.worker, wrong)


def device_kills(folder: Path, rounds: int) -> list[str]:
    """`kill -9` of the device process; what missed its target.

    Each worker once a round: one that dies again soon is started again later each time.
    """
    missed = []
    for number in range(rounds):
        with _case(folder / str(number), lease_s=10) as case:
            for worker in case.stack.workers:
                kill = case.kill(case.stack.kill_device, worker, AFTER_S)
                limit = DEVICE_TARGET_S + kill.own_work
                missed += _print("device process", kill, limit, TRAFFIC_TARGET_S)
    return missed


def worker_kills(folder: Path, lease_s: float, times: int) -> list[str]:
    """`kill -9` of parent and device process; what missed its target."""
    missed = []
    with _case(folder, lease_s) as case:
        for _ in range(times):
            victim = case.stack.workers[0]
            kill = case.kill(case.stack.kill, victim, lease_s + 3)
            limit = lease_s + WORKER_SLACK_S + kill.own_work
            missed += _print(f"worker, lease {lease_s:g} s", kill, limit, None)
            case.stack.add_worker()
    return missed


@contextlib.contextmanager
def _case(folder: Path, lease_s: float) -> Iterator[Case]:
    case = Case(folder, lease_s)
    with case.stack:
        case.start()
        yield case


def _print(what: str, kill: Kill, limit: float, back_limit: float | None) -> list[str]:
    rate = sum(a.ended < kill.at for a in kill.asked) / BEFORE_S
    back = "" if back_limit is None else f", takes traffic again after {kill.back:.2f} s"
    print(
        f"  kill -9 {what}: {rate:.0f} requests/s, 99 % in {kill.own_work * 1e3:.0f} ms before; "
        f"longest wait {kill.longest:.2f} s (target {limit:.2f}){back}, "
        f"{len(kill.failed)} of {len(kill.asked)} failed {sorted(set(kill.failed))}",
        flush=True,
    )
    missed = []
    if kill.longest > limit:
        missed.append(f"{what}: a request waited {kill.longest:.2f} s")
    if back_limit is not None and kill.back > back_limit:
        missed.append(f"{what}: took no traffic for {kill.back:.2f} s")
    if kill.failed:
        missed.append(f"{what}: {len(kill.failed)} requests failed")
    return missed


def run_figures(folder: Path) -> list[str]:
    """Print them; what missed its target."""
    missed = device_kills(folder / "device", 3)
    missed += worker_kills(folder / "worker-3", 3.0, 3)
    return missed + worker_kills(folder / "worker-10", 10.0, 2)
