"""The heartbeats of many workers, in a process of their own: a connection and a beat each second.

Each beat has news, like that of a busy device. A beat is as late as its answer comes after the
moment at which it was due, whatever kept it: Redis, or this process.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context

import uvloop

from deploy.bench.scale.fleet import Member
from shared import clock, statuses
from shared.channel import Channel
from shared.errors import WarmrouteError
from shared.keys import Keys
from shared.scripts import WorkerScripts
from worker.membership import BEAT_EVERY_S

LEASE_MS = 10_000  # as usual


@dataclass
class Beats:
    """How late each was answered, s; how many failed, or were answered that the lease is lost."""

    late_s: list[float] = field(default_factory=list)
    failed: int = 0
    fenced: int = 0


async def beat_elsewhere(
    url: str, keys: Keys, members: Sequence[Member], share: float, seconds: float
) -> Beats:
    """In another process, for these seconds. `share`: of time that the devices are busy."""
    loop, cell = asyncio.get_running_loop(), keys.prefix[1:-1]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        work = loop.run_in_executor(pool, beat, url, cell, list(members), share, seconds)
        return await work


def beat(url: str, cell: str, members: Sequence[Member], share: float, seconds: float) -> Beats:
    """The body of that process."""
    return uvloop.run(_beat_all(url, Keys(cell), members, share, seconds))


async def _beat_all(
    url: str, keys: Keys, members: Sequence[Member], share: float, seconds: float
) -> Beats:
    beats, ends = Beats(), clock.monotonic() + seconds
    await asyncio.gather(*(_beat_one(url, keys, each, share, ends, beats) for each in members))
    return beats


async def _beat_one(
    url: str, keys: Keys, member: Member, share: float, ends: float, beats: Beats
) -> None:
    channel = Channel(url)
    scripts = WorkerScripts(channel, keys)
    due = clock.monotonic() + random.uniform(0, BEAT_EVERY_S)
    try:
        while due < ends:
            await asyncio.sleep(due - clock.monotonic())
            news = {"busy_share": round(share + random.uniform(-0.01, 0.01), 4)}
            try:
                beaten = await scripts.heartbeat(
                    member.name, member.epoch, member.incarnation, LEASE_MS, len(member.refs), news
                )
                beats.fenced += beaten.answer != statuses.OK
            except WarmrouteError:
                beats.failed += 1
            beats.late_s.append(clock.monotonic() - due)
            due = max(due, clock.monotonic() - BEAT_EVERY_S) + BEAT_EVERY_S
    finally:
        with suppress(Exception):
            await channel.aclose()
