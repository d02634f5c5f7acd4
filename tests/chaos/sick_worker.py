"""One sick worker beside two healthy ones: what callers see, and how fast the others are (I39).

Callers ask more models than the workers hold, as fast as they are answered, and retry nothing;
whatever is not a 200 with the right answer counts as failed. First the healthy ones are alone.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from tests.chaos.asking import Door
from tests.chaos.faults.sickness import LostDevice, Sickness, possible
from tests.chaos.figures import Asked, Prepared, ask
from tests.chaos.ground import MODEL_BYTES, Ground
from tests.helpers.models import publish_mlp
from tests.helpers.pair import send

CALLERS = 8
WARM_S, MEASURED_S = 2.0, 5.0
LEAST_SHARE = 0.9  # of what the healthy ones do alone
NEW_MODELS = 4
LEASE_S = 10.0  # that of a healthy worker ends neither in a pause nor because a machine is busy
PAUSED_S = 3.0
LOOK_S = 0.1


@dataclass(frozen=True)
class Found:
    """What callers saw beside one sick worker. Rates in answers per second."""

    kind: str
    alone: float
    beside: float
    failed: list[str]
    quarantined: list[str]
    reason: str  # why the verification failed, '' if the worker reported its sickness

    @property
    def ratio(self) -> float:
        return self.beside / self.alone

    @property
    def wrong(self) -> list[str]:
        """All but the speed, which depends on what else the machine does."""
        return [
            *([f"{self.kind}: {self.reason}"] if self.reason else []),
            *(f"{self.kind}: a request failed: {each}" for each in sorted(set(self.failed))),
            *(f"{self.kind}: quarantined: {each}" for each in self.quarantined),
        ]

    def line(self) -> str:
        """For people."""
        return (
            f"  {self.kind:<30} {self.alone:6.0f}/s alone, {self.beside:6.0f}/s beside it, ratio "
            f"{self.ratio:.2f}; {len(self.failed)} failed {sorted(set(self.failed))}"
        )


class Trial:
    """A ground of three workers, the first of which falls sick. `measured_s`: for so long each
    rate is measured; the one beside the sick worker `tries` times while it is less than
    `least_share`, as whatever else the machine does slows it too."""

    def __init__(
        self,
        ground: Ground,
        measured_s: float = MEASURED_S,
        least_share: float = LEAST_SHARE,
        tries: int = 1,
    ) -> None:
        self.ground = ground
        self._measured_s = measured_s
        self._least_share = least_share
        self._tries = tries
        self._dice = random.Random(1)
        self._questions = [Prepared(model, rows=2) for model in ground.zoo.plain]

    def run(self, way: type[Sickness]) -> Found:
        """Measure the healthy ones alone, then beside one that is sick."""
        fault = way(self.ground, self.ground.workers[0])
        fault.leave()
        self._ask(WARM_S)
        alone = self._ask(self._measured_s)
        reason, healthy, noticed, beside = "", list[Asked](), list[Asked](), [list[Asked]()]
        try:
            fault.prepare()
            if fault.serves_first:
                healthy = self._ask(self._measured_s)  # it takes its part, which it then fails
            fault.fall_sick()
            noticed = self._ask_until_shown(fault)
            fault.verify()
            beside = self._ask_beside(_right(alone))
            if isinstance(fault, LostDevice) and not fault.ends_for_good():
                reason = "it did not end for good"
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
        finally:
            fault.heal()
        asked = [*alone, *healthy, *noticed, *chain.from_iterable(beside)]
        wrong = [each.wrong for each in asked if each.wrong]
        rates = _right(alone) / self._measured_s, max(map(_right, beside)) / self._measured_s
        return Found(fault.kind, *rates, wrong, self._quarantined(), reason)

    def found_wrong(self, way: type[Sickness]) -> list[str]:
        """What callers see beside a worker with a planted bug, until they have seen something.

        It is asked for certain: for models that no other has, while the others stand still. Their
        leases go on, so with the cure each request would be theirs, and wait for them.
        """
        fault = way(self.ground, self.ground.workers[0])
        try:
            fault.prepare()
            questions = self._publish()
            if fault.holds_models:
                self._ask_alone(questions)
            fault.fall_sick()
            failed = self._ask_alone(questions)
            return Found(fault.kind, 1.0, 1.0, failed, self._quarantined(), "").wrong
        finally:
            fault.heal()
            for key in self.ground.redis.scan_iter(self.ground.stack.keys.breaker("*")):
                self.ground.redis.delete(key)

    def _publish(self) -> list[Prepared]:
        """Questions to models that nobody has been asked for."""
        repository, folder = self.ground.stack.repository, self.ground.folder
        models = [publish_mlp(repository, folder, size=MODEL_BYTES) for _ in range(NEW_MODELS)]
        return [Prepared(model, rows=2) for model in models]

    def _ask_alone(self, questions: list[Prepared]) -> list[str]:
        """Ask each once, while the healthy workers stand still for a part of their lease. What is
        wrong; returns as soon as anything is."""
        try:
            self._signal_others(signal.SIGSTOP)
            return asyncio.run(self._ask_each(questions))
        finally:
            self._signal_others(signal.SIGCONT)

    def _signal_others(self, number: int) -> None:
        for slot in self.ground.workers[1:]:
            for pid in slot.pids:
                send(pid, number)

    async def _ask_each(self, questions: list[Prepared]) -> list[str]:
        door = Door([self.ground.gateways[0].url], self._dice)
        asking = {asyncio.create_task(ask(door, each)) for each in questions}
        ends, left = time.monotonic() + PAUSED_S, asking
        try:
            while not (wrong := _wrong(asking - left)) and left and not self._quarantined():
                if time.monotonic() > ends:
                    self._signal_others(signal.SIGCONT)
                _, left = await asyncio.wait(left, timeout=LOOK_S)
            return wrong
        finally:
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            await door.close()

    def _ask_until_shown(self, fault: Sickness) -> list[Asked]:
        """A worker notices by what it is asked; beside a busy machine that takes a while."""
        ends = time.monotonic() + fault.patience_s
        asked = self._ask(self._measured_s)
        while not fault.shown() and time.monotonic() < ends:
            asked += self._ask(1.0)
        return asked

    def _ask_beside(self, alone: int) -> list[list[Asked]]:
        """Until callers have been answered about as often as without the sick worker."""
        found = [self._ask(self._measured_s)]
        while _right(found[-1]) < self._least_share * alone and len(found) < self._tries:
            found.append(self._ask(self._measured_s))
        return found

    def _ask(self, seconds: float) -> list[Asked]:
        return asyncio.run(self._drive(seconds))

    async def _drive(self, seconds: float) -> list[Asked]:
        asked: list[Asked] = []
        door = Door([self.ground.gateways[0].url], self._dice)
        ends = time.monotonic() + seconds
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(CALLERS):
                    group.create_task(self._caller(door, ends, asked))
        finally:
            await door.close()
        return asked

    async def _caller(self, door: Door, ends: float, asked: list[Asked]) -> None:
        while time.monotonic() < ends:
            model = self.ground.zoo.choose(self._dice)
            question = self._questions[self.ground.zoo.plain.index(model)]
            asked.append(await ask(door, question))

    def _quarantined(self) -> list[str]:
        keys = self.ground.redis.scan_iter(self.ground.stack.keys.breaker("*"))
        return [key.decode() for key in keys if self.ground.redis.hexists(key, "until")]


def _wrong(answered: set[asyncio.Task[Asked]]) -> list[str]:
    return [task.result().wrong for task in answered if task.result().wrong]


def _right(asked: list[Asked]) -> int:
    return sum(not each.wrong for each in asked)


@contextmanager
def open_ground(folder: Path) -> Iterator[Ground]:
    """Three workers, running."""
    with Ground(folder, workers=3, gateways=1, WARMROUTE_LEASE_S=f"{LEASE_S:g}") as ground:
        ground.start()
        yield ground


def run_sick_workers(folder: Path) -> list[str]:
    """Print the figures of each sickness; what is wrong, and what missed its target."""
    wrong = []
    with open_ground(folder) as ground:
        trial = Trial(ground)
        for way in possible(folder):
            found = trial.run(way)
            print(found.line(), flush=True)
            wrong += found.wrong
            if found.ratio < LEAST_SHARE:
                wrong.append(f"{found.kind}: {found.ratio:.2f} of what the healthy ones do alone")
    return wrong
