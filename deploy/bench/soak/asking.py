"""Requests that may be refused, but clearly: a status and a word for it, never another failure."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import aiohttp

from deploy.bench.cases.crowds import Crowd
from deploy.bench.connection import Answer
from deploy.bench.errors import BenchError
from deploy.bench.posts import body_of, check_close
from deploy.local.ports import LOOPBACK
from warmroute.encoding import HEADER_LENGTH

# What says that there is no room or no time just now: full, unavailable, too late, no memory.
REFUSALS = frozenset({429, 503, 504, 507})
WORD = "Warmroute-Error"
TIMEOUT_S = 60.0


@dataclass
class Asked:
    """What came of the requests. `refused` counts by the word of the refusal."""

    right: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    @property
    def ended(self) -> int:
        """Requests that had an end."""
        return self.right + self.refused.total() + len(self.faults)


async def ask_all(port: int, models: Crowd, order: Iterator[int], at_a_time: int) -> Asked:
    """Ask the models of `order`, so many at a time, until it ends."""
    asked = Asked()
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    connector = aiohttp.TCPConnector(limit=at_a_time)
    async with (
        aiohttp.ClientSession(timeout=timeout, connector=connector) as session,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(at_a_time):
            group.create_task(_ask_in_turn(session, port, models, order, asked))
    return asked


async def _ask_in_turn(
    session: aiohttp.ClientSession, port: int, models: Crowd, order: Iterator[int], asked: Asked
) -> None:
    for at in order:
        try:
            await _ask(session, port, models, at, asked)
        except (TimeoutError, aiohttp.ClientError) as error:
            asked.faults.append(f"{models.names[at]}: no answer: {error!r}")


async def _ask(
    session: aiohttp.ClientSession, port: int, models: Crowd, at: int, asked: Asked
) -> None:
    head, _, _ = models.posts[at].partition(b"\r\n\r\n")
    lines = [line.split(b": ", 1) for line in head.split(b"\r\n")[1:]]
    headers = {name.decode(): value.decode() for name, value in lines}
    del headers["Host"], headers["Content-Length"]
    url = f"http://{LOOPBACK}:{port}/v2/models/{models.names[at]}/infer"
    async with session.post(url, data=body_of(models.posts[at]), headers=headers) as response:
        body = await response.read()
        if response.status == 200:
            length = f"\r\n{HEADER_LENGTH}: {response.headers[HEADER_LENGTH]}".encode()
            try:
                check_close(Answer(at, length, body), models.expected[at])
                asked.right += 1
            except BenchError as error:
                asked.faults.append(f"{models.names[at]}: wrong: {error}")
        elif response.status in REFUSALS and response.headers.get(WORD):
            asked.refused[response.headers[WORD]] += 1
        else:
            asked.faults.append(f"{models.names[at]}: {response.status} {body[:200]!r}")
