"""What comes back on streams: answers of streamed requests, and every reply that gateways get.

The watcher only reads. It follows the answer stream, so that producers know when they are
answered, and the reply stream of each gateway, where a reply that comes twice would be seen.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Any

import msgspec
import redis.asyncio
import redis.exceptions

from shared.keys import Keys
from tests.chaos.asking import Question, outputs_of
from tests.chaos.history import Op
from tests.judge.outcomes import TERMINAL

_BLOCK_MS = 200


class Answers:
    """Follows the streams until closed."""

    def __init__(self, client: redis.asyncio.Redis, keys: Keys, mark: str) -> None:
        self.stream = f"{keys.answers}{mark}"
        self.counted: Counter[str] = Counter()  # producers' own id -> answers
        self.replies: Counter[tuple[str, str]] = Counter()  # gateway, request -> terminal replies
        self.attempts: dict[str, int] = {}  # request -> most starts before a work entry of it
        self._client = client
        self._keys = keys
        self._expected: dict[str, tuple[Op, Question]] = {}
        self._came: dict[str, asyncio.Event] = {}
        self._positions: dict[str, str] = {self.stream: "0-0"}

    def expect(self, name: str, op: Op, question: Question) -> None:
        """An answer with this `id` is to be checked, and noted for `op`."""
        self._expected[name] = (op, question)
        self._came[name] = asyncio.Event()

    async def wait(self, name: str, within_s: float) -> None:
        """Until it is there, or the time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._came[name].wait()

    async def follow(self) -> None:
        """Read on and on; cancel it to end."""
        while True:
            try:
                await self.read_once(_BLOCK_MS)
            except redis.exceptions.RedisError:
                await asyncio.sleep(0.1)

    async def read_once(self, block_ms: int | None) -> int:
        """Take in what is there; the number of entries."""
        for name in await self._streams():
            self._positions.setdefault(name, "0-0")
        found = await self._client.xread(dict(self._positions), block=block_ms)
        for raw, entries in found or []:
            name = raw.decode()
            for entry, fields in entries:
                self._positions[name] = entry.decode()
                self._take(name, {k.decode(): v for k, v in fields.items()})
        return sum(len(entries) for _, entries in found or [])

    async def _streams(self) -> list[str]:
        gateways = await self._client.zrange(self._keys.gateways, 0, -1)
        workers = await self._client.zrange(self._keys.workers, 0, -1)
        return [self._keys.replies(each.decode()) for each in gateways] + [
            self._keys.work(each.decode()) for each in workers
        ]

    def _take(self, stream: str, fields: dict[str, bytes]) -> None:
        if stream == self.stream:
            self._answered(fields)
        elif "attempts" in fields:
            request, before = fields["id"].decode(), int(fields["attempts"])
            self.attempts[request] = max(before, self.attempts.get(request, 0))
        elif fields.get("status", b"").decode() in TERMINAL:
            self.replies[stream, fields["id"].decode()] += 1

    def _answered(self, fields: dict[str, bytes]) -> None:
        name = fields.get("id", b"").decode()
        self.counted[name] += 1
        if name not in self._expected:
            return
        op, question = self._expected[name]
        told: dict[str, Any] = {
            "state": fields["status"].decode(), "request": fields.get("request", b"").decode(),
            "code": fields.get("code", b"").decode(), "worker": fields.get("worker", b"").decode(),
            "note": fields.get("error", b"").decode(errors="replace"),
        }  # fmt: skip
        body = fields.get("body")
        right = told["state"] != "succeeded" or (
            body is not None and question.right(outputs_of(msgspec.json.decode(body)))
        )
        op.note("ok", right=right, **told)
        self._came[name].set()
