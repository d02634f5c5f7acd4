"""Outcomes on their way to Redis, coalesced: all of one loop turn go in one `complete` call.

Small outcomes and large ones go on two lanes, so that no small one waits for the upload of a large
one (`outcome_lane.py`). A commit that Redis did not answer is sent again: `complete` may be
repeated, as only the first finds the work entry. A worker that was fenced meanwhile commits
nothing, under its new epoch neither: the requests that it had started were moved, which deleted
their entries.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from shared import clock, statuses
from shared.causes import full_text
from shared.constants import POLL
from shared.envelope import Outcome, pack, pack_error
from shared.errors import Cancelled, Expired, ModelFailed, Undeliverable, WarmrouteError
from shared.scripts import Completion, WorkerScripts
from shared.shared_memory import SHARED_MEMORY_FROM_BYTES, SharedMemoryStore, size_of
from worker.membership import Membership
from worker.serving.outcome_lane import OutcomeLane, Outgoing
from worker.serving.queued_request import QueuedRequest
from worker.serving.redis_clock import RedisClock

log = logging.getLogger(__name__)

_POLL = POLL.encode()
MAX_OUTCOME_BYTES = 64 << 20  # Redis would refuse one beyond its own limits again and again
# Larger ones go on a connection of their own: on a slow line the start of a batch, the renewal of
# a load and the outcomes of others would wait behind them.
LARGE_FROM_BYTES = 64 << 10
SMALL_CALL_BYTES, LARGE_CALL_BYTES = 256 << 10, 4 << 20
MAX_LARGE_BYTES = 512 << 20  # of large outcomes that wait
Result = Outcome | WarmrouteError
_UNLIKE_FAILED = {Expired: statuses.EXPIRED, Cancelled: statuses.CANCELLED}


class Completions:
    """Commits outcomes. `release(entries)` is called for entries that are this worker's no longer,
    committed or not; `shared_memory` carries large outcomes to gateways on this host; `large` runs
    the scripts for the others that are large, over a channel of its own; `reads_since()`: see
    `Channel.since`, of the one over which entries are read."""

    def __init__(
        self, scripts: WorkerScripts, membership: Membership,
        release: Callable[[Iterable[bytes]], None],
        shared_memory: SharedMemoryStore | None = None, large: WorkerScripts | None = None,
        reads_since: Callable[[], float] = lambda: 0.0,
    ) -> None:  # fmt: skip
        self._reads_since = reads_since
        self._membership = membership
        self.release = release
        self._shared_memory = shared_memory
        self.redis_clock = RedisClock()
        large = large or scripts
        self._small = OutcomeLane(
            partial(self._complete, scripts), SMALL_CALL_BYTES, self._settle, self._refuse
        )
        self._large = OutcomeLane(
            partial(self._complete, large), LARGE_CALL_BYTES, self._settle, self._refuse, large.cut
        )
        self.counts: Counter[str] = Counter()

    def finish(self, requests: Sequence[QueuedRequest], results: Sequence[Result]) -> None:
        """Commit the result of each request soon."""
        for request, result in zip(requests, results, strict=True):
            done = completion(request, result, self._shared_memory)
            self._put(done, self._until(request.deadline_ms), request.received)

    def add(self, completions: Iterable[Completion]) -> None:
        """Commit these soon."""
        for each in completions:
            self._put(each, float("inf"), clock.monotonic())

    async def drain(self) -> None:
        """Wait until everything added is committed or refused."""
        while self._large.busy or self._small.busy:
            await self._large.drain()
            await self._small.drain()

    def _until(self, deadline_ms: int) -> float:
        clock = self.redis_clock
        return clock.local_deadline(deadline_ms) if clock.observed else float("inf")

    def _put(self, completion: Completion, until: float, read_at: float) -> None:
        item = Outgoing(completion, until, read_at)
        if item.size < LARGE_FROM_BYTES:
            self._small.put(item)
        elif self._large.bytes + item.size > MAX_LARGE_BYTES:
            self._refuse(item, Undeliverable(
                f"its outcome of {item.size} bytes cannot wait for the line to Redis: "
                f"{self._large.bytes} bytes wait already"
            ))  # fmt: skip
        else:
            self._large.put(item)

    async def _complete(self, scripts: WorkerScripts, batch: Sequence[Outgoing]) -> list[int]:
        member = self._membership  # its epoch may be a new one in each try
        since = max(scripts.since, self._reads_since())
        outlived = any(item.read_at <= since for item in batch)
        items = [item.completion for item in batch]
        return await scripts.complete(member.worker, member.epoch, items, outlived)

    def _settle(self, items: list[Outgoing], won: list[int]) -> None:
        self.release([item.completion.entry for item in items])
        if won == [-1]:
            self.counts[statuses.FENCED] += len(items)
            return
        for item, first in zip(items, won, strict=True):
            lost = "repeat" if item.repeated else "not ours"
            self.counts[item.completion.status if first else lost] += 1

    def _refuse(self, item: Outgoing, error: WarmrouteError) -> None:
        """Answer with a failure in place of an outcome that was given up."""
        given_up = item.completion
        log.warning("request %s: %s", given_up.id.decode(errors="replace"), error.message)
        status = statuses.EXPIRED if isinstance(error, Expired) else statuses.FAILED
        failed = given_up._replace(status=status, outcome=pack_error(error))
        self._small.put(Outgoing(failed, read_at=item.read_at, repeated=item.repeated))


def completion(
    request: QueuedRequest, result: Result, shared_memory: SharedMemoryStore | None
) -> Completion:
    """The arguments of `complete` for one request."""
    head = (request.entry, request.id, request.reply, request.flags)
    result = _within_limit(result)
    if isinstance(result, Outcome):
        packed = _packed(request, result, shared_memory)
        return Completion(*head, statuses.SUCCEEDED, packed, request.ref)
    status = _UNLIKE_FAILED.get(type(result), statuses.FAILED)
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
