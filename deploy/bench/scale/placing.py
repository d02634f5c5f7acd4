"""Gateways that place without pause, beside the housekeeping of real ones."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from deploy.bench.scale.stage import WIDE
from router.gateway import Gateway
from shared import clock, statuses
from shared.channel import Channel
from shared.config import RouterConfig
from shared.errors import WarmrouteError
from shared.keys import Keys
from shared.scripts import Placing, Scripts

CALLS, BATCH, PAUSE_S = 2, 32, 0.020  # calls of a gateway at a time, requests of each
_serial = itertools.count(1)


@dataclass
class Placements:
    """Requests that were placed on a worker, and what else happened."""

    placed: int = 0
    other: int = 0
    failed: int = 0
    seconds: float = 0.0
    call_s: list[float] = field(default_factory=list)


@asynccontextmanager
async def gateways_at_work(url: str, keys: Keys, folder: Path, count: int) -> AsyncIterator[None]:
    """So many gateways with all their loops, over an empty repository."""
    config = RouterConfig(
        redis_url=url, cell=keys.prefix[1:-1], model_repository=f"file://{folder}"
    )
    made = [Gateway(config) for _ in range(count)]
    try:
        for gateway in made:
            await gateway.start()
        yield
    finally:
        await asyncio.gather(*(gateway.stop() for gateway in made))


async def place_for(
    url: str, keys: Keys, refs: Sequence[str], gateways: int, seconds: float
) -> Placements:
    """Each gateway has some calls under way, of requests for random models."""
    found, ends = Placements(), clock.monotonic() + seconds
    channels = [Channel(url) for _ in range(gateways)]
    started = clock.monotonic()
    try:
        await asyncio.gather(
            *(
                _place(Scripts(channel, keys), refs, ends, found)
                for channel in channels
                for _ in range(CALLS)
            )
        )
    finally:
        for channel in channels:
            with suppress(Exception):
                await channel.aclose()
    found.seconds = clock.monotonic() - started
    return found


async def _place(scripts: Scripts, refs: Sequence[str], ends: float, found: Placements) -> None:
    while (started := clock.monotonic()) < ends:
        try:
            answers = await scripts.place([_item(random.choice(refs)) for _ in range(BATCH)], WIDE)
        except WarmrouteError:
            found.failed += 1
            continue
        finally:
            found.call_s.append(clock.monotonic() - started)
        placed = sum(answer.status == statuses.PLACED for answer in answers)
        found.placed += placed
        found.other += len(answers) - placed
        await asyncio.sleep(PAUSE_S)


def _item(ref: str) -> Placing:
    return Placing(
        id=f"{next(_serial):032x}", ref=ref, timeout_ms=600_000, reply="", flags="", ingress="",
        reply_to="", caller_id="", key="", fingerprint="", body=b"x" * 100,
    )  # fmt: skip
