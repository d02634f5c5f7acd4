"""A light load generator: prepared requests over many connections, for a time or all at once.

What it kept of the answers is for the caller to look at: `posts.outputs_of`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import uvloop

from deploy.bench.connection import Answer, Connection, Done, Run
from deploy.bench.measure import BenchError, percentile
from deploy.local.ports import LOOPBACK

GIVE_UP_S = 60.0  # after the time that a load was to last


@dataclass
class Load:
    """What came back. Nothing in it but status 200: anything else raises."""

    seconds: float
    done: list[Done]
    kept: list[Answer]
    all_answers: int  # with those before and after the seconds that count

    @property
    def per_second(self) -> float:
        """Answers per second."""
        return len(self.done) / self.seconds

    def latency_ms(self, share: float = 0.5) -> float:
        """The time within which `share` of the answers came."""
        return percentile([done.took for done in self.done], share) * 1000


def steady(
    port: int,
    posts: list[bytes],
    choose: Callable[[], int],
    *,
    connections: int,
    seconds: float,
    keep_every: int = 100,
) -> Load:
    """Keep every connection busy with posts that `choose` picks, for `seconds` after a fifth of
    that to get going; only answers that come within those seconds count."""
    started = time.perf_counter() + seconds / 5
    ends = started + seconds

    def feed() -> int | None:
        return choose() if time.perf_counter() < ends else None

    run = Run(posts, feed, keep_every)
    uvloop.run(_drive(port, run, connections, seconds * 1.2 + GIVE_UP_S))
    counted = [done for done in run.done if started <= done.at < ends]
    if not counted:
        raise BenchError(f"no answer came within {seconds:g} s")
    return Load(seconds, counted, run.kept, len(run.done))


def in_order(
    port: int, posts: list[bytes], order: Sequence[int], *, connections: int, within_s: float
) -> Load:
    """Send posts by their numbers in `order`, each as soon as a connection is free; keeps every
    answer. The seconds are from the first post to the last answer."""
    waiting = iter(order)
    run = Run(posts, lambda: next(waiting, None), 1)
    started = uvloop.run(_drive(port, run, connections, within_s))
    last = max(done.at for done in run.done)
    return Load(last - started, run.done, run.kept, len(run.done))


def volley(port: int, posts: list[bytes], within_s: float = GIVE_UP_S) -> Load:
    """Open one connection per post, then send all at once; keeps every answer."""
    waiting = iter(range(len(posts)))
    run = Run(posts, lambda: next(waiting, None), 1)
    started = uvloop.run(_drive(port, run, len(posts), within_s))
    last = max(done.at for done in run.done)
    return Load(last - started, run.done, run.kept, len(run.done))


async def _drive(port: int, run: Run, connections: int, within_s: float) -> float:
    """Returns when the first post was sent. The first error ends all."""

    def new() -> Connection:
        return Connection(run)

    loop = asyncio.get_running_loop()
    made: list[Connection] = []
    try:
        async with asyncio.timeout(within_s):
            for _ in range(connections):
                made.append((await loop.create_connection(new, LOOPBACK, port))[1])
            started = time.perf_counter()
            for connection in made:
                connection.send()
            await asyncio.gather(*(connection.ended for connection in made))
    except TimeoutError as error:
        raise BenchError(f"{len(run.done)} answers, then none for {within_s:g} s") from error
    except OSError as error:
        raise BenchError(f"port {port}: {error}") from error
    finally:
        for connection in made:
            connection.close()
        await asyncio.sleep(0)  # uvloop's loop does not close while a transport is open
    return started
