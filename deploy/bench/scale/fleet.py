"""A large fleet, written into Redis as `register`, `announce` and `heartbeat` leave it.

By plain commands, as 10,000 registrations would take minutes: each looks at all live processes. A
test compares the keys with those of the scripts.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from shared.keys import Keys
from shared.protocol import NUMBERS
from shared.worker_report import CopyBytes, CopyUse, WorkerReport, encode

DIGEST = "0123456789ab"
COPY_BYTES = 50_000_000
HOUR_MS = 3_600_000  # no lease ends while it is measured
LOADED_VERSIONS_TTL_MS, KEY_TTL_MS = 7 * 86_400_000, 86_400_000
AT_ONCE = 200  # workers in a pipeline
QUEUED = 12  # requests on the stream of a saturated worker
CALM, SATURATED = (0.1, 5.0), (0.95, 20.0)  # share of time that the device is busy, ms a request


@dataclass
class Member:
    """A worker: its epoch, the models that it holds."""

    name: str
    epoch: str
    refs: list[str]
    incarnation: str = "one"


@dataclass
class Fleet:
    """All of it."""

    client: Redis
    keys: Keys
    lease_ms: int = HOUR_MS
    members: list[Member] = field(default_factory=list)
    refs: list[str] = field(default_factory=list)
    _epochs: Any = field(default_factory=lambda: itertools.count(1))

    async def grow(self, workers: int, copies: int, holders: int = 2) -> None:
        """`workers` calm workers, each with `copies` models, each model with so many holders."""
        self.refs = [ref_of(f"model-{n}") for n in range(max(1, workers * copies // holders))]
        made = []
        for number in range(workers):
            first = number * copies
            held = {self.refs[(first + n) % len(self.refs)]: None for n in range(copies)}
            made.append(Member(f"w{number}", str(next(self._epochs)), list(held)))
        await self._write(made)
        self.members = made

    async def add(self, name: str, refs: Iterable[str]) -> Member:
        """One more worker, with these models."""
        member = Member(name, str(next(self._epochs)), list(refs))
        await self._write([member])
        return member

    async def load(self, share: float = SATURATED[0], service_ms: float = SATURATED[1]) -> None:
        """Every device is busy for this share of time, and requests wait on each."""
        for chunk in _chunks(self.members):
            pipe: Any = self.client.pipeline(transaction=False)
            for member in chunk:
                busy = {"busy_share": share, "service_ms": service_ms}
                pipe.hset(self.keys.worker(member.name), mapping=busy)
                pipe.zadd(self.keys.ready("cpu"), {member.name: share})
                for number in range(QUEUED):
                    pipe.xadd(self.keys.work(member.name), entry_of(member.refs, number))
                for number in range(QUEUED):
                    ref = member.refs[number % len(member.refs)]
                    pipe.hincrby(self.keys.queued(member.name), ref, 1)
            await pipe.execute()

    async def _write(self, members: Sequence[Member]) -> None:
        seconds, micros = await self.client.time()
        now = int(seconds) * 1000 + int(micros) // 1000
        for chunk in _chunks(members):
            pipe = self.client.pipeline(transaction=False)
            for member in chunk:
                self._add(pipe, member, now)
            await pipe.execute()
        await self._note_protocol(now)

    async def _note_protocol(self, now: int) -> None:
        row, keys = f"{now + self.lease_ms} worker w0", self.keys
        await self.client.hset(keys.protocols, "{} {}".format(*NUMBERS), row)
        await self.client.pexpire(keys.protocols, KEY_TTL_MS)

    def _add(self, pipe: Any, member: Member, now: int) -> None:
        keys, name = self.keys, member.name
        pipe.hset(keys.worker(name), mapping=record_of(member, now))
        pipe.zadd(keys.workers, {name: now + self.lease_ms})
        pipe.zadd(keys.ready("cpu"), {name: CALM[0]})
        pipe.sadd(keys.device_classes, "cpu")
        pipe.sadd(keys.host("one"), name)
        pipe.xgroup_create(keys.work(name), member.epoch, "0", mkstream=True)
        pipe.sadd(keys.holds(name), *member.refs)
        for ref in member.refs:
            pipe.hset(keys.holders(ref), name, f"device {COPY_BYTES} {now}")
            versions = keys.loaded_versions(ref.partition(":")[0])
            pipe.hset(versions, "1", DIGEST)
            pipe.pexpire(versions, LOADED_VERSIONS_TTL_MS)


def ref_of(name: str) -> str:
    """The ref of version 1 of a made-up model."""
    return f"{name}:1:{DIGEST}"


def report_of(refs: Sequence[str]) -> dict[str, Any]:
    """The fields of a calm worker's report."""
    used = COPY_BYTES * len(refs)
    share, service_ms = CALM
    return encode(
        WorkerReport(
            state="ready", device_name="cpu", device_class="cpu", host_id="one",
            budget_bytes=2 * used + COPY_BYTES, used_bytes=used, completed_per_s=20.0,
            service_ms=service_ms, busy_share=share,
            copies={ref: CopyUse("device", COPY_BYTES, 1000, 7) for ref in refs},
            copy_bytes={ref: CopyBytes(COPY_BYTES, 0, 0) for ref in refs},
        )
    )  # fmt: skip


def record_of(member: Member, now: int) -> dict[str, Any]:
    """Its hash `worker:<id>`."""
    written, read = NUMBERS
    beside = {
        "epoch": member.epoch, "since": now, "copies_at": now, "incarnation": member.incarnation,
        "parent": "one", "protocol": f"{written} {read}",
    }  # fmt: skip
    return {**beside, **report_of(member.refs)}


def entry_of(refs: Sequence[str], number: int) -> dict[Any, Any]:
    """A work entry of a caller that waits."""
    return {
        "id": f"{number:032x}", "model": refs[number % len(refs)], "deadline": 1 << 45,
        "reply": "gw0", "flags": "", "attempts": 0, "body": b"x" * 100,
    }  # fmt: skip


def _chunks(members: Sequence[Member]) -> Iterable[Sequence[Member]]:
    return (members[at : at + AT_ONCE] for at in range(0, len(members), AT_ONCE))
