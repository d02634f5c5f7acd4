"""One run: start everything, load it, break it, heal it, and look at what came of it."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import redis.asyncio
import redis.exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tests.chaos import rest
from tests.chaos.answers import Answers
from tests.chaos.asking import Door, Question
from tests.chaos.checks import AFTERWARDS, Seen, violations
from tests.chaos.clients import Clients
from tests.chaos.ground import Ground
from tests.chaos.history import History
from tests.chaos.load import Load
from tests.chaos.report import Report, counts, outages, stories
from tests.chaos.schedule import Injected, Lane, Make, run_lanes
from tests.chaos.slot import Slot

log = logging.getLogger(__name__)

LAST_ANSWERS_S = 60.0
# By the faults, by the poison, and for want of a server that was away just then.
EXPECTED_ENDS = ("SIGKILL", "SIGSEGV", "status 2", "its device failed a self-test")


@dataclass(frozen=True)
class Plan:
    """What to do: lanes of faults until `enough` of them, by one seed."""

    seed: int
    lanes: Callable[[Ground, History], list[list[Make]]]
    seconds: float
    kills: int = 0  # go on until so many processes were killed, if that takes longer


async def run(ground: Ground, plan: Plan) -> Report:
    """The whole of it, on a ground that has not been started yet."""
    await asyncio.to_thread(ground.start)
    with History(ground.folder / "history.jsonl") as history:
        async with _Session(ground, history, plan.seed) as session:
            return await session.run(plan)


class _Session:
    """The clients, and what they need."""

    def __init__(self, ground: Ground, history: History, seed: int) -> None:
        self._ground = ground
        self._history = history
        dice, mark = random.Random(seed), f"chaos-{time.time_ns():x}"
        self._redis = redis.asyncio.Redis.from_url(
            ground.stack.redis_server.url, socket_timeout=10, retry=Retry(NoBackoff(), 0)
        )
        self._answers = Answers(self._redis, ground.stack.keys, mark)
        self._door = Door([gateway.url for gateway in ground.gateways], dice)
        self._clients = Clients(
            self._door, self._redis, ground.stack.keys, self._answers, history, dice, mark
        )

    async def __aenter__(self) -> _Session:
        self._following = asyncio.create_task(self._answers.follow())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._following.cancel()
        with suppress(asyncio.CancelledError):
            await self._following
        await self._door.close()
        await self._redis.aclose()

    async def run(self, plan: Plan) -> Report:
        """Load and faults at the same time, then rest."""
        load = Load(self._clients, self._ground.zoo)
        await load.warm_up()
        before = await asyncio.to_thread(rest.baseline, self._ground)
        begun = self._history.now()
        running = asyncio.create_task(load.run())
        try:
            injected = await asyncio.to_thread(self._break, plan)
        finally:
            load.stop()
        seconds = self._history.now() - begun
        log.info("%6.1f all is healed: who is ready, and what is still under way?", begun + seconds)
        wrong = await asyncio.to_thread(self._ground.not_ready)
        wrong += await self._finish(running)
        await asyncio.gather(*map(self._serves, self._ground.gateways))
        log.info("%6.1f every caller is served: what is left?", self._history.now())
        wrong += await asyncio.to_thread(rest.unrest, self._ground)
        await self._last_answers()
        seen = self._seen(injected)
        dead = int(await self._redis.xlen(self._ground.stack.keys.dead_letters))
        wrong += violations(seen) + await rest.leaks(self._ground, before)
        ends = rest.device_ends(self._ground)
        wrong += [f"a device process {how}" for how in ends if not how.endswith(EXPECTED_ENDS)]
        told = counts(
            seen.events, self._answers.attempts, dead, sum(self._answers.counted.values())
        )
        gaps = outages(seen.events, injected)
        told |= {f"device processes {how}": times for how, times in ends.items()}
        lines = stories(wrong, seen.events)
        return Report(plan.seed, seconds, told, injected, gaps, wrong, lines)

    def _break(self, plan: Plan) -> list[Injected]:
        stopping, begun = threading.Event(), time.monotonic()
        lanes = [
            Lane(f"lane of {name}", deck, slots, plan.seed, self._history, stopping)
            for name, deck, slots in zip(
                ("workers", "others"),
                plan.lanes(self._ground, self._history),
                (self._ground.workers, self._ground.gateways),
                strict=True,
            )
        ]

        def enough() -> bool:
            killed = sum(i.kills and not i.wrong for lane in lanes for i in lane.injected)
            return time.monotonic() - begun > plan.seconds and killed >= plan.kills

        return run_lanes(lanes, enough)

    async def _finish(self, running: asyncio.Task[None]) -> list[str]:
        """Callers that wait get their answers now, or never."""
        done, _ = await asyncio.wait([running], timeout=LAST_ANSWERS_S)
        if done:
            running.result()
            return []
        running.cancel()
        await asyncio.wait([running])
        return [f"some callers have no answer {LAST_ANSWERS_S:g} s after everything was healed"]

    async def _serves(self, gateway: Slot) -> None:
        """A gateway, asked alone, answers: a check reads so in the history."""
        door = Door([gateway.url], self._clients.dice)
        try:
            model = self._ground.zoo.plain[0]
            alone = replace(self._clients, door=door)
            await alone.wait(Question(model, model.question(1)), kind=AFTERWARDS)
        finally:
            await door.close()

    async def _last_answers(self) -> None:
        """What is still on its way to the watcher."""
        self._following.cancel()
        with suppress(asyncio.CancelledError):
            await self._following
        while await self._answers.read_once(None):
            pass

    def _seen(self, injected: list[Injected]) -> Seen:
        events, clients = self._history.events, self._clients
        asked = {e.request: clients.questions.get(e.op) for e in events if e.request}
        names = {f"{clients.mark}-{op}": op for op in clients.questions}
        counted = self._answers.counted.items()
        return Seen(
            events=events,
            ended=rest.ended_requests(self._ground, asked),
            answers={names[name]: times for name, times in counted if name in names},
            replies=self._answers.replies,
            injected=injected,
        )
