"""The load: some clients, each of which asks in one way after the other, with pauses."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.chaos.asking import Question
from tests.chaos.clients import Clients
from tests.chaos.models import WIDE_ROWS, Zoo

CLIENTS = 20
PAUSE_S = 0.1  # in the mean; keeps a machine of two cores from being all load
SLOW_S = 0.15  # long enough to be killed in


@dataclass(frozen=True)
class Mix:
    """Ways of asking, each with its share."""

    ways: list[Callable[[Question], Awaitable[None]]]
    shares: list[float]


def usual_mix(clients: Clients) -> Mix:
    """A bit of everything."""
    shares = {
        clients.wait: 30, clients.submit: 15, clients.keyed: 20, clients.stream: 20,
        clients.cancel: 6, clients.hurry: 6, clients.hang_up: 3,
    }  # fmt: skip
    return Mix(list(shares), list(shares.values()))


class Load:
    """Runs until told to stop; what is under way then is finished first."""

    def __init__(self, clients: Clients, zoo: Zoo, *, count: int = CLIENTS) -> None:
        self._clients = clients
        self._zoo = zoo
        self._mix = usual_mix(clients)
        self._count = count
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Ends when `stop` was called and every client has ended what it was doing."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._count):
                group.create_task(self._client())

    def stop(self) -> None:
        """Begin nothing new."""
        self._stopping.set()

    async def warm_up(self) -> None:
        """Every model once, so that what follows finds the disk cache and the catalog filled."""
        await asyncio.gather(
            *(self._clients.wait(Question(m, m.question())) for m in self._zoo.plain)
        )

    async def _client(self) -> None:
        dice = self._clients.dice
        while not self._stopping.is_set():
            way = dice.choices(self._mix.ways, self._mix.shares)[0]
            await way(self._question(dice))
            await asyncio.sleep(dice.expovariate(1 / PAUSE_S))

    def _question(self, dice: random.Random) -> Question:
        rolled = dice.random()
        if rolled < 0.05:
            return Question(self._zoo.slow, self._zoo.slow.question(SLOW_S))
        if rolled < 0.08:
            rows = WIDE_ROWS + dice.randrange(64)
            return Question(self._zoo.wide, self._zoo.wide.question(dice.randrange(9999), rows))
        model = self._zoo.fragile if rolled < 0.11 else self._zoo.choose(dice)
        return Question(model, model.question(dice.randrange(9999), rows=1 + dice.randrange(3)))
