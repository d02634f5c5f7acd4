"""Redis and the processes when all is over: all serve (I28), nothing waits or leaked (I30)."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import msgspec
import redis.asyncio

from shared.envelope import unpack_outcome
from tests.chaos.asking import Question, arrays_of
from tests.chaos.checks import Ended
from tests.chaos.ground import Ground
from tests.chaos.proc import open_files, resident_bytes
from tests.chaos.slot import Slot
from tests.helpers.leaks import leaked_keys
from tests.helpers.wait import came_true
from tests.judge.left import RedisStore, left_over

DRAINED_WITHIN_S = 45.0
FREED_WITHIN_S = 20.0
MIB = 1 << 20
GROWTH = {"router": 60 * MIB, "worker": 200 * MIB}  # of resident memory, beyond the first look
MORE_FILES = 100
MORE_KEYS = 30  # another model or so may be held
JSON_PROCESS = 56 * MIB  # 47 measured
REDIS_GROWTH = 8 * MIB
_DEVICE_ENDS = re.compile(r"its device process (?:was )?((?:killed by|ended with) .*?) after")


@dataclass(frozen=True)
class Baseline:
    """How things stood before the first fault."""

    redis_bytes: int
    lasting: int  # keys without a lifetime
    resident: dict[str, int]
    files: dict[str, int]


def baseline(ground: Ground) -> Baseline:
    """Take it when every model has been asked for once."""
    return Baseline(
        redis_bytes=int(ground.redis.info("memory")["used_memory_dataset"]),
        lasting=len(_lasting(ground)),
        resident={slot.name: _resident(slot) for slot in ground.slots},
        files={slot.name: _files(slot) for slot in ground.slots},
    )


def unrest(ground: Ground, within_s: float = DRAINED_WITHIN_S) -> list[str]:
    """What still waits, runs or is remembered; waits until it is nothing."""
    found: list[str] = []

    def quiet() -> bool:
        found[:] = _unrest(ground)
        return not found

    came_true(quiet, within_s)
    return found


def _unrest(ground: Ground) -> list[str]:
    found = left_over(RedisStore(ground.redis), ground.stack.keys)
    return found + _of_shared_memory(ground)


def _of_shared_memory(ground: Ground) -> list[str]:
    """Requests' tensors, and folders of gateways that are no more."""
    alive = {g.decode() for g in ground.redis.zrange(ground.stack.keys.gateways, 0, -1)}
    folders = [p for p in _memory(ground).glob("gw-*") if p.is_dir()]
    return [f"{p.name} is left in shared memory" for p in folders if p.name not in alive] + [
        f"{p} is left in shared memory" for folder in folders for p in folder.glob("*.in")
    ]


def _memory(ground: Ground) -> Path:
    return next(p for p in sorted((ground.folder / "memory").iterdir()) if not p.is_symlink())


def device_ends(ground: Ground) -> Counter[str]:
    """How device processes have ended, as their parents tell."""
    logs = [slot.process.log for slot in ground.workers if slot.process]
    return Counter(how for log in logs for how in _DEVICE_ENDS.findall(log))


async def leaks(ground: Ground, before: Baseline) -> list[str]:
    """Keys without an owner, and processes that grew."""
    client = redis.asyncio.Redis.from_url(ground.stack.redis_server.url)
    try:
        found = await leaked_keys(client, ground.stack.keys)
    finally:
        await client.aclose()
    return [f"{key} has no lifetime" for key in found] + _grown(ground, before)


def _grown(ground: Ground, before: Baseline) -> list[str]:
    found = []
    more = len(_lasting(ground)) - before.lasting
    if more > MORE_KEYS:
        found.append(f"{more} keys without a lifetime more than at the start")
    for slot in ground.slots:
        grown = _resident(slot) - before.resident[slot.name]
        if grown > GROWTH[slot.module]:
            found.append(f"{slot.name} has {grown / MIB:.0f} MiB more than at the start")
        files = _files(slot) - before.files[slot.name]
        if files > MORE_FILES:
            found.append(f"{slot.name} has {files} files more open than at the start")
    return found + _redis_growth(ground, before)


def _redis_growth(ground: Ground, before: Baseline) -> list[str]:
    """What Redis holds once all that has a lifetime is gone, as it would be after an hour."""
    client = ground.redis
    keys = list(client.scan_iter(count=1000))
    lasting = set(_lasting(ground))
    for key in keys:
        if key.decode() not in lasting:
            client.unlink(key)
    client.execute_command("MEMORY", "PURGE")

    def grown() -> int:
        return int(client.info("memory")["used_memory_dataset"]) - before.redis_bytes

    # Another thread of Redis frees what was unlinked.
    freed = came_true(lambda: grown() <= REDIS_GROWTH, FREED_WITHIN_S)
    return [] if freed else [f"Redis holds {grown() / MIB:.1f} MiB more"]


def _lasting(ground: Ground) -> list[str]:
    keys = list(ground.redis.scan_iter(count=1000))
    pipe = ground.redis.pipeline(transaction=False)
    for key in keys:
        pipe.pttl(key)
    lifetimes = pipe.execute() if keys else []
    return [key.decode() for key, ttl in zip(keys, lifetimes, strict=True) if ttl == -1]


def _resident(slot: Slot) -> int:
    """Of all its processes; of those for large JSON, which a gateway starts when it first needs
    them, what is above the size of a fresh one."""
    fresh = JSON_PROCESS if slot.module == "router" else 0
    return sum(
        resident_bytes(pid) if at == 0 else max(0, resident_bytes(pid) - fresh)
        for at, pid in enumerate(slot.pids)
    )


def _files(slot: Slot) -> int:
    return sum(map(open_files, slot.pids))


def ended_requests(ground: Ground, asked: dict[str, Question | None]) -> dict[str, Ended]:
    """How requests stand, and whether what is kept of them is right."""
    pipe = ground.redis.pipeline(transaction=False)
    for request in asked:
        pipe.hmget(ground.stack.keys.request(request), "status", "worker", "outcome")
    rows = pipe.execute() if asked else []
    return {
        request: _ended(row, question)
        for (request, question), row in zip(asked.items(), rows, strict=True)
    }


def _ended(row: list[bytes | None], question: Question | None) -> Ended:
    state, worker = (row[0] or b"").decode(), (row[1] or b"").decode()
    if state != "succeeded" or question is None:
        return Ended(state, worker)
    try:
        outputs = arrays_of(unpack_outcome(row[2] or b"").outputs)
    except (msgspec.MsgspecError, ValueError):
        return Ended(state, worker, right=False)
    return Ended(state, worker, right=question.right(outputs))
