"""Outcomes on their way to Redis, coalesced: all of one loop turn go in one `complete` call.

A commit that Redis did not answer is sent again: `complete` may be repeated, as only the first
finds the work entry. Who was fenced meanwhile commits nothing; under its new epoch neither, as what
it had begun was moved, and that deleted the entries.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable

from shared.retry import until_answered
from shared.scripts import Completion, Scripts
from worker.membership import Membership

MAX_BATCH = 128
MAX_BATCH_BYTES = 4 << 20


class Completions:
    """`add` outcomes; `drain` waits until all are committed. `settled` is told of each entry."""

    def __init__(
        self, scripts: Scripts, membership: Membership, settled: Callable[[list[bytes]], None]
    ) -> None:
        self._scripts = scripts
        self._membership = membership
        self._settled = settled
        self._waiting: deque[Completion] = deque()
        self._task: asyncio.Task[None] | None = None
        self.counts: Counter[str] = Counter()

    def add(self, completions: Iterable[Completion]) -> None:
        """Commit these soon."""
        self._waiting.extend(completions)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._flush())

    async def drain(self) -> None:
        """Wait until everything added is committed or refused."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def _flush(self) -> None:
        while self._waiting:
            batch: list[Completion] = []
            size = 0
            while self._waiting and len(batch) < MAX_BATCH and size < MAX_BATCH_BYTES:
                batch.append(self._waiting.popleft())
                size += len(batch[-1].outcome)
            await self._commit(batch)
            self._settled([completion.entry for completion in batch])

    async def _commit(self, batch: list[Completion]) -> None:
        tries = 0

        async def complete() -> list[int]:
            nonlocal tries
            tries += 1
            member = self._membership  # its epoch may be a new one in each try
            return await self._scripts.complete(member.worker, member.epoch, batch)

        won = await until_answered(complete)
        self._count(batch, won, repeated=tries > 1)

    def _count(self, batch: list[Completion], won: list[int], repeated: bool) -> None:
        lost = "repeat" if repeated else "not ours"
        if won == [-1]:
            self.counts["fenced"] += len(batch)
            return
        for completion, first in zip(batch, won, strict=True):
            self.counts[completion.status if first else lost] += 1
