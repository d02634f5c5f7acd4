"""Scripts whose calls are measured, each by Redis itself, beside those that only prepare them.

What a call costs is the time that Redis's command statistics add for it, or the processor time of
its main thread if that is less: the first also counts while Redis waits for a processor, the second
also what it reads and answers. A call that Redis cannot finish within the timeout counts as that
long.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import redis.exceptions
from redis.asyncio import Redis

from deploy.bench.measure import spread
from deploy.bench.scale.fleet import Fleet, Member
from deploy.local.redis_server import RedisServer
from shared.channel import Channel
from shared.connection import COMMAND_TIMEOUT_S, open_redis
from shared.errors import Unavailable
from shared.keys import Keys
from shared.script_runner import load_source
from shared.scripts import Limits, Placing, Scripts

WIDE = Limits(work=1_000_000, parked=1_000_000, pending=10_000_000)
LEASE_MS = 10_000
MAX_ATTEMPTS = 3
TIMED_OUT_MS = COMMAND_TIMEOUT_S * 1000
STUCK_S = 60
# Then a row that grows with the fleet is not measured in a larger one: it would take minutes.
FAR_MS = 50.0
_CLOCK = (
    "local t = redis.call('TIME') redis.call('SET', KEYS[1], string.format('%.0f 0 0 %.0f', "
    "t[1] * 1000 + math.floor(t[2] / 1000), ARGV[1]))"
)

Row = tuple[str, str]  # a script, and the state in which it is called


def script_names() -> list[str]:
    """Every script of the product."""
    names = (Path(str(each)).name for each in (files("shared") / "lua").iterdir())
    return sorted(name.removesuffix(".lua") for name in names if name.endswith(".lua"))


class MeteredScripts(Scripts):
    """Notes in `longest` what each script took, ms: the longest of its calls. `pid`: Redis."""

    def __init__(self, channel: Channel, keys: Keys, client: Redis, pid: int) -> None:
        super().__init__(channel, keys)
        self._client = client
        self._spent = Path(f"/proc/{pid}/task/{pid}/schedstat")
        self.longest: dict[str, float] = {}

    async def _run(self, name: str, *args: Any) -> Any:
        await keep_clock(self._client, self._keys)
        before = await self._spent_us()
        cpu_before = self._cpu_us()
        try:
            answer = await super()._run(name, *args)
        except Unavailable:
            self._note(name, TIMED_OUT_MS)
            await _until_it_answers(self._client)
            raise
        cpu = self._cpu_us() - cpu_before
        spent = await self._spent_us() - before
        self._note(name, min(spent, cpu or spent) / 1000)
        return answer

    def _note(self, name: str, ms: float) -> None:
        self.longest[name] = max(ms, self.longest.get(name, 0.0))

    def _cpu_us(self) -> float:
        """Of the main thread so far; always 0 where the system does not say."""
        try:
            return int(self._spent.read_text().split()[0]) / 1000
        except OSError:
            return 0.0

    async def _spent_us(self) -> float:
        """In calls by hash so far. (The first call by text would be measured with its parsing, so
        every script is sent before.)"""
        stats = await self._client.info("commandstats")
        return int(stats.get("cmdstat_evalsha", {}).get("usec", 0))


class Stage:
    """One fleet, and what is measured in it: `rows` has per row the longest call of each scene.
    `many`: copies of a worker that dies, and its requests; models that wait; sessions. `pid`: of
    Redis."""

    def __init__(self, url: str, pid: int, many: int) -> None:
        self.many = many
        self.client: Any = open_redis(url)  # redis-py types few of its answers
        self.channel, self.keys = Channel(url), Keys("scale")
        self.scripts = Scripts(self.channel, self.keys)
        self.fleet = Fleet(self.client, self.keys)
        self.rows: dict[Row, list[float]] = defaultdict(list)
        self.far: set[Row] = set()  # rows that are too slow to be measured again
        self._metered = MeteredScripts(self.channel, self.keys, self.client, pid)
        self._serial = itertools.count(1)

    @contextmanager
    def scene(self, state: str) -> Iterator[MeteredScripts]:
        """Calls of the scripts that it gives are measured, in this state."""
        self._metered.longest = {}
        try:
            yield self._metered
        finally:
            for script, ms in self._metered.longest.items():
                self.rows[script, state].append(ms)

    def figures(self) -> dict[Row, float]:
        """Of each row the median of its scenes, ms."""
        return {row: spread(values).median for row, values in self.rows.items()}

    def new_name(self, kind: str = "m") -> str:
        """Never the same twice."""
        return f"{kind}-{next(self._serial)}"

    def member(self) -> Member:
        """Some worker of the fleet, each time another one."""
        return self.fleet.members[next(self._serial) % len(self.fleet.members)]

    def refs(self, count: int) -> list[str]:
        """So many models that workers hold, each time others."""
        known = self.fleet.refs
        first = next(self._serial) * 101
        return [known[(first + number) % len(known)] for number in range(count)]

    def asking(self, refs: Sequence[str], **more: Any) -> list[Placing]:
        """A request for each of these models, for which a caller waits."""
        usual: dict[str, Any] = {
            "timeout_ms": 600_000, "reply": "gw0", "flags": "", "ingress": "", "reply_to": "",
            "caller_id": "", "key": "", "fingerprint": "", "body": b"x" * 100, **more,
        }  # fmt: skip
        return [Placing(id=f"{next(self._serial):032x}", ref=ref, **usual) for ref in refs]

    async def send_scripts(self) -> None:
        """So that none is parsed while it is measured."""
        for name in script_names():
            await self.client.script_load(load_source(name))

    async def reset(self) -> None:
        """An empty Redis."""
        await self.client.flushall()
        self.fleet = Fleet(self.client, self.keys)
        await self.send_scripts()
        await keep_clock(self.client, self.keys)


async def keep_clock(client: Redis, keys: Keys) -> None:
    """As gateways do twice a second: the clock does not stand still."""
    await client.eval(_CLOCK, 1, keys.clock, LEASE_MS)


async def _until_it_answers(client: Redis) -> None:
    """Redis goes on with a script after its caller has given up, unless it may be ended."""
    for _ in range(STUCK_S):
        try:
            await client.script_kill()
        except redis.exceptions.RedisError:
            await asyncio.sleep(1)  # it has written, or has ended
        try:
            await client.ping()
        except redis.exceptions.RedisError:
            continue
        return
    raise Unavailable("Redis has not ended a script within a minute")


@asynccontextmanager
async def open_stage(server: RedisServer, many: int = 0) -> AsyncIterator[Stage]:
    """A stage over a Redis that is its own."""
    stage = Stage(server.url, server.child.pid, many)
    try:
        await stage.reset()
        yield stage
    finally:
        await stage.channel.aclose()
        await stage.client.aclose()
