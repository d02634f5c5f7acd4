"""What a whole warm request costs Redis: place, read, begin, complete, reply, as processes send it.

Two workers hold the model. Each reads, begins and completes over connections of its own, and a
gateway reads the replies; all reads block. What Redis spends is the processor time of its main
thread, with parsing, answers and the append-only file.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from deploy.bench.scale.fleet import Member, ref_of
from deploy.bench.scale.stage import LEASE_MS, WIDE, Stage, keep_clock
from shared.channel import Channel
from shared.connection import BLOCK_MS
from shared.keys import Keys
from shared.scripts import Completion, Placing, Scripts

BODY_BYTES = 1024
GATEWAY = "gw-whole"
FULL = 64  # requests that a gateway places in one call at most


@dataclass(frozen=True)
class Load:
    """So many callers send `batch` requests each at a time, `requests` in all; a worker reads
    `count` at most."""

    name: str
    callers: int
    batch: int
    count: int
    requests: int


# Four callers keep the batches of both workers full, 32 keep Redis busy where nothing is a batch.
FULL_BATCHES = Load("full batches", callers=4, batch=FULL, count=FULL, requests=32_768)
NO_BATCHES = Load("alone, many callers", callers=32, batch=1, count=1, requests=6_000)
ALONE = Load("alone, one caller", callers=1, batch=1, count=1, requests=2_000)
LOADS = (FULL_BATCHES, NO_BATCHES, ALONE)


async def whole_request_us(stage: Stage, url: str, load: Load, share: float = 1.0) -> float:
    """Microseconds of Redis for one request. `share`: of the requests that are sent."""
    ref = ref_of(stage.new_name("whole"))
    members = [await stage.fleet.add(stage.new_name("new"), [ref]) for _ in range(2)]
    total = max(load.callers * load.batch, round(load.requests * share))
    async with _Parts(url, stage.keys, ref, members, load).running() as parts:
        await parts.send(load.callers * load.batch)  # connections are open
        await keep_clock(stage.client, stage.keys)
        before = await main_thread_s(stage.client)
        sent = await parts.send(total)
        spent = await main_thread_s(stage.client) - before
    return spent / sent * 1e6


class _Parts:
    """Workers, a gateway, and callers."""

    def __init__(self, url: str, keys: Keys, ref: str, members: list[Member], load: Load) -> None:
        self._keys, self._ref, self._members, self._load = keys, ref, members, load
        self._channels = [Channel(url) for _ in range(2 + 2 * len(members))]
        self._waiting: dict[bytes, asyncio.Future[None]] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[_Parts]:
        """With its tasks."""
        calls, replies, *rest = self._channels
        self._scripts = Scripts(calls, self._keys)
        await self._scripts.gateway_beat(GATEWAY, LEASE_MS)
        loops: list[Coroutine[Any, Any, None]] = [self._read_replies(replies)]
        for number, member in enumerate(self._members):
            loops.append(self._serve(member, rest[2 * number], rest[2 * number + 1]))
        tasks = [asyncio.create_task(loop) for loop in loops]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for channel in self._channels:
                with suppress(Exception):
                    await channel.aclose()

    async def send(self, requests: int) -> int:
        """Returns when all are answered; how many there were."""
        rounds = max(1, requests // (self._load.callers * self._load.batch))
        await asyncio.gather(*(self._call(rounds) for _ in range(self._load.callers)))
        return rounds * self._load.callers * self._load.batch

    async def _call(self, rounds: int) -> None:
        for _ in range(rounds):
            items = [self._item() for _ in range(self._load.batch)]
            answered = [self._waiting[item.id.encode()] for item in items]
            await self._scripts.place(items, WIDE)
            async with asyncio.timeout(30):
                await asyncio.gather(*answered)

    def _item(self) -> Placing:
        name = secrets.token_hex(16)
        self._waiting[name.encode()] = asyncio.get_running_loop().create_future()
        return Placing(
            id=name, ref=self._ref, timeout_ms=600_000, reply=GATEWAY, flags="", ingress="",
            reply_to="", caller_id="", key="", fingerprint="", body=b"x" * BODY_BYTES,
        )  # fmt: skip

    async def _read_replies(self, channel: Channel) -> None:
        stream, last = self._keys.replies(GATEWAY), b"0"
        while True:
            found = await channel.execute_command(
                "XREAD", "COUNT", 2 * FULL, "BLOCK", BLOCK_MS, "STREAMS", stream, last
            )
            for entry, flat in found[0][1] if found else ():
                last, waiting = entry, self._waiting.pop(flat[1], None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(None)

    async def _serve(self, member: Member, reads: Channel, calls: Channel) -> None:
        scripts, batch = Scripts(calls, self._keys), 0
        stream = self._keys.work(member.name)
        while True:
            found = await reads.execute_command(
                "XREADGROUP", "GROUP", member.epoch, member.name, "COUNT", self._load.count,
                "BLOCK", BLOCK_MS, "STREAMS", stream, ">",
            )  # fmt: skip
            if found:
                batch += 1
                await _run(scripts, member, batch, found[0][1])


async def _run(scripts: Scripts, member: Member, batch: int, entries: Any) -> None:
    rows, ends = [], []
    for entry, flat in entries:
        f = dict(zip(flat[::2], flat[1::2], strict=True))
        rows.append((entry, f[b"id"], int(f[b"deadline"]), f[b"flags"]))
        ends.append(
            Completion(
                entry, f[b"id"], f[b"reply"], f[b"flags"], "succeeded", b"y" * BODY_BYTES,
                f[b"model"],
            )
        )  # fmt: skip
    await scripts.begin(member.name, member.epoch, batch, rows)
    await scripts.complete(member.name, member.epoch, ends)


async def main_thread_s(client: Redis) -> float:
    """Processor seconds of Redis's main thread so far: it runs all commands."""
    info: dict[str, float] = await client.info("cpu")
    return info["used_cpu_user_main_thread"] + info["used_cpu_sys_main_thread"]
