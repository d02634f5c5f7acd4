"""Outcomes on their way to Redis, coalesced: all of one loop turn go in one `complete` call.

A commit that Redis did not answer is sent again: `complete` may be repeated, as only the first
finds the work entry. A worker that was fenced meanwhile commits nothing, under its new epoch
neither: the requests that it had started were moved, which deleted their entries.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence

from shared import statuses
from shared.causes import full_text
from shared.constants import POLL, WATCHED
from shared.envelope import Outcome, pack, pack_error
from shared.errors import Expired, ModelFailed, WarmrouteError
from shared.retry import until_answered
from shared.scripts import Completion, WorkerScripts
from shared.shared_memory import SHARED_MEMORY_FROM_BYTES, SharedMemoryStore, size_of
from worker.membership import Membership
from worker.serving.queued_request import QueuedRequest

MAX_BATCH = 128
MAX_BATCH_BYTES = 4 << 20
_POLL, _WATCHED = POLL.encode(), WATCHED.encode()
MAX_OUTCOME_BYTES = 64 << 20  # Redis would refuse one beyond its own limits again and again
Result = Outcome | WarmrouteError


class Completions:
    """Commits outcomes. `release(entries)` is called for entries that are this worker's no longer,
    committed or not; `shared_memory` carries large outcomes to gateways on this host."""

    def __init__(
        self, scripts: WorkerScripts, membership: Membership,
        release: Callable[[Iterable[bytes]], None],
        shared_memory: SharedMemoryStore | None = None,
    ) -> None:  # fmt: skip
        self._scripts = scripts
        self._membership = membership
        self.release = release
        self._shared_memory = shared_memory
        self._waiting: deque[Completion] = deque()
        self._task: asyncio.Task[None] | None = None
        self.counts: Counter[str] = Counter()

    def finish(self, requests: Sequence[QueuedRequest], results: Sequence[Result]) -> None:
        """Commit the result of each request soon."""
        pairs = zip(requests, results, strict=True)
        self.add(completion(request, result, self._shared_memory) for request, result in pairs)

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
            self.release([completion.entry for completion in batch])

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
            self.counts[statuses.FENCED] += len(batch)
            return
        for completion, first in zip(batch, won, strict=True):
            self.counts[completion.status if first else lost] += 1


def completion(
    request: QueuedRequest, result: Result, shared_memory: SharedMemoryStore | None
) -> Completion:
    """The arguments of `complete` for one request."""
    head = (request.entry, request.id, request.reply, request.flags)
    result = _within_limit(result)
    if isinstance(result, Outcome):
        ref = request.ref if _WATCHED in request.flags else b""
        return Completion(*head, statuses.SUCCEEDED, _packed(request, result, shared_memory), ref)
    status = statuses.EXPIRED if isinstance(result, Expired) else statuses.FAILED
    full = full_text(result).encode(errors="replace")
    return Completion(*head, status, pack_error(result), request.ref, full)


def refusal(entry: bytes, flat: Sequence[bytes], error: WarmrouteError) -> Completion:
    """The arguments of `complete` for an entry that cannot be read. Its caller is answered as far
    as its fields, name, value, name, value ..., show one."""
    fields = dict(zip(flat[::2], flat[1::2], strict=False))
    request_id, reply, flags, ref = (
        fields.get(n, b"") for n in (b"id", b"reply", b"flags", b"model")
    )
    return Completion(entry, request_id, reply, flags, statuses.FAILED, pack_error(error), ref)


def _within_limit(result: Result) -> Result:
    if isinstance(result, Outcome) and size_of(result) > MAX_OUTCOME_BYTES:
        return ModelFailed(
            f"outputs of {size_of(result)} bytes, at most {MAX_OUTCOME_BYTES} can be answered"
        )
    return result


def _packed(
    request: QueuedRequest, outcome: Outcome, shared_memory: SharedMemoryStore | None
) -> bytes:
    """A large outcome for a caller that waits on this host goes through shared memory."""
    waits_only = bool(request.reply) and _POLL not in request.flags
    if shared_memory is None or not waits_only or size_of(outcome) < SHARED_MEMORY_FROM_BYTES:
        return pack(outcome)
    try:
        return shared_memory.put(request.reply.decode(), request.id.decode(), "out", outcome)
    except OSError:  # its gateway is on another host, or has ended
        return pack(outcome)
