"""A guard over batches in service: what was right in the trial may be wrong for real requests.

From time to time the requests of a real batch are run again one by one, after their answers were
sent and only while the device has nothing else to do, and the answers are compared. Where a row's
answer depends on its batch-mates, batches end for that model: here at once, and for the cell in
`known:<ref>`, from where later loads and the other workers (`residency/idle_eviction.py`) take it.

What waits to be checked is in this process only. If that dies nothing is lost but the check: the
next batch of the next copy is checked soon after its load.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from msgspec import structs

from shared import clock
from shared.envelope import Outcome
from shared.event_log import EventLog
from shared.manifest import Batching
from shared.retry import until_answered
from worker.device.base import DeviceOutOfMemory
from worker.residency.context import WorkerContext
from worker.residency.copies import Copy
from worker.serving import batch_tensors
from worker.serving.execution import Result, Watch
from worker.serving.queued_request import QueuedRequest
from worker.trial.audit import Answers, Audit, Found
from worker.trial.batches import INDEPENDENT, Interrupted, try_batches
from worker.trial.batches import Found as Tried
from worker.trial.inputs import tried_names
from worker.trial.rows import Arrays

log = logging.getLogger(__name__)

SHARE = 0.01  # of the device's time, at most
MOST_BYTES = 16 << 20  # of the inputs that are kept for a check
CHECKED = 4  # requests of a batch, at most
FIRST_PAUSE_S, LONGEST_PAUSE_S = 10.0, 600.0  # between two checks of a copy, doubling
NUMBER = 1 << 61  # as the number of a batch: no batch has it, so no request is charged
OVERDUE_S = 120.0
ALONE = Batching(max_size=1)
Given = TypeVar("Given")


class Seen(NamedTuple):
    """A batch that was answered, and its answers."""

    copy: Copy
    batch: Sequence[QueuedRequest]
    outcomes: Sequence[Outcome]


class Gone(Exception):
    """The copy is leaving: nothing is to be found out of it any more."""


class Guard:
    """`saw` each batch that ends, `look` when one has; `run_once` checks one. `idle` says whether
    the device has nothing to do."""

    def __init__(self, parts: WorkerContext, events: EventLog | None = None) -> None:
        self._parts = parts
        self._events = events
        self.idle: Callable[[], bool] = lambda: True
        self._seen: Seen | None = None
        self._not_before = 0.0
        self._spent = 0.0
        self._wanted, self._looked = asyncio.Event(), asyncio.Event()

    def saw(self, copy: Copy, batch: Sequence[QueuedRequest], results: Sequence[Result]) -> None:
        """A batch ended. On the warm path: mostly there is nothing to do."""
        if self._seen is not None or not (len(batch) > 1 or (copy.unproved and batch)):
            return
        now = clock.monotonic()
        if now < self._not_before or now < copy.check_at or copy.retiring:
            return
        outcomes = [result for result in results if isinstance(result, Outcome)]
        if (
            sum(work.size for work in batch) > MOST_BYTES
            or len(outcomes) < len(batch)
            or outcomes[0].timing.batch != len(batch)
            or (copy.unproved and not _with(tried_names(copy.manifest), batch[0]))
        ):
            return
        self._seen = Seen(copy, batch, outcomes)
        self._wanted.set()

    def look(self) -> None:
        """A batch ended: the device may be idle now."""
        self._looked.set()

    async def run_once(self) -> int:
        """Check what was seen last, as soon as the device is idle; 1 if something was found."""
        await self._wanted.wait()
        seen, self._spent = self._seen, 0.0
        assert seen is not None
        try:
            return await (self._prove(seen) if seen.copy.unproved else self._check(seen))
        except Gone:
            return 0
        finally:
            now = clock.monotonic()
            pause_s = min(FIRST_PAUSE_S * 2.0**seen.copy.checks, LONGEST_PAUSE_S)
            seen.copy.checks = min(seen.copy.checks + 1, 10)
            seen.copy.check_at = max(seen.copy.check_at, now + pause_s)
            self._not_before = now + self._spent / SHARE
            self._seen = None
            self._wanted.clear()

    async def _check(self, seen: Seen) -> int:
        """Real answers against those of the same requests alone."""
        found = await self._found(seen)
        if found.unsteady:
            seen.copy.check_at = float("inf")
            log.warning("%s: %s", seen.copy.ref, found.reason)
            await self._learn(seen.copy, {"repeats": found.reason})
        elif found.reason:
            await self._forbid(seen.copy, found.reason)
        return int(bool(found.reason))

    async def _found(self, seen: Seen) -> Found:
        copy, batch = seen.copy, seen.batch
        audit = Audit(copy.manifest.outputs, [answers(outcome) for outcome in seen.outcomes])

        async def run(places: Sequence[int]) -> list[Answers]:
            return await self._run(copy, [batch[place] for place in places])

        even = len({work.items for work in batch}) == 1
        for place in random.sample(range(len(batch)), min(CHECKED, len(batch))):
            found = await audit.of(place, run, even)
            if found.reason:
                return found
        return Found()

    async def _prove(self, seen: Seen) -> int:
        """What the trial at load had no input or no time for, with a request that was answered."""
        copy, inputs = seen.copy, batch_tensors.join(seen.batch[:1])
        await self._until_idle(copy)
        try:
            found = await self._on_device(copy, lambda: self._tried(copy, inputs))
        except Interrupted:
            return 0  # another time
        copy.unproved = False
        if found.finding not in ("", INDEPENDENT):
            await self._forbid(copy, found.finding)
        elif found.pays:
            limits = copy.manifest.batching
            self._parts.batcher.limit(
                copy.ref, structs.replace(limits, max_size=min(limits.max_size, found.most))
            )
        if found.finding == INDEPENDENT:
            await self._learn(copy, {"rows": found.finding, "unwarmed": ""})
        return int(bool(found.finding))

    def _tried(self, copy: Copy, inputs: Arrays) -> Tried:
        """On the device thread; it ends as soon as a request comes."""
        return try_batches(copy.manifest, copy.model, inputs, patient=True, go_on=self.idle)

    async def _forbid(self, copy: Copy, reason: str) -> None:
        self._parts.batcher.limit(copy.ref, ALONE)
        log.warning("%s is served unbatched from now on: %s", copy.ref, reason)
        if self._events is not None:
            self._events.emit("unbatched", copy.ref, reason=reason)
        await self._learn(copy, {"rows": reason})

    async def _learn(self, copy: Copy, fields: dict[str, str]) -> None:
        member = self._parts.membership
        await until_answered(
            lambda: self._parts.scripts.learn(member.worker, member.epoch, copy.ref, fields)
        )

    # On the device -----------------------------------------------------------------------------

    async def _run(self, copy: Copy, works: Sequence[QueuedRequest]) -> list[Answers]:
        """The answers of one call with these requests, once the device is idle."""
        await self._until_idle(copy)
        outputs = await self._on_device(copy, lambda: copy.model.run(batch_tensors.join(works)))
        timings = [each.timing for each in (Outcome([]),) * len(works)]
        split = batch_tensors.split(outputs, copy.manifest.outputs, works, timings)
        return [answers(outcome) for outcome in split]

    async def _on_device(self, copy: Copy, call: Callable[[], Given]) -> Given:
        progress, begun = self._parts.progress, clock.monotonic()
        watch = Watch(progress, NUMBER, begun + OVERDUE_S)

        def run() -> Given:
            progress.start(watch.number, watch.overdue_at)
            try:
                return call()
            finally:
                progress.end()

        copy.running += 1  # it is not freed meanwhile, but this is no use of it
        try:
            return await self._parts.thread.run(run)
        except DeviceOutOfMemory as error:
            raise Gone from error
        finally:
            copy.running -= 1
            self._spent += clock.monotonic() - begun

    async def _until_idle(self, copy: Copy) -> None:
        while True:
            if copy.retiring or self._parts.copies.get(copy.ref) is not copy:
                raise Gone
            self._looked.clear()
            if self.idle():
                return
            await self._looked.wait()


def _with(tried: frozenset[str] | None, work: QueuedRequest) -> bool:
    """Whether a request gives the inputs with which rows are to be proved independent."""
    return tried is None or tried == {tensor.name for tensor in work.envelope.inputs}


def answers(outcome: Outcome) -> Answers:
    """The outputs of one request as arrays, by name."""
    return {tensor.name: batch_tensors.to_array(tensor) for tensor in outcome.outputs}
