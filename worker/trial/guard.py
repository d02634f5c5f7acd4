"""A check of batches in service: a model that passed its trial may mix the rows of real requests.

From time to time the requests of a real batch are run again one by one, after their answers were
sent and only while the device is idle, and the answers are compared. Where the answer to a row
depends on its batch-mates, that model is served unbatched: on this worker at once, and in the cell
through `stats:<ref>`, which later loads and the other workers (`residency/idle_eviction.py`) read.

A batch to be checked is kept in this process only. If the process dies nothing but the check is
lost: the next batch of the next copy is checked soon after its load.
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
from worker.serving.completions import Result
from worker.serving.execution import DeviceCall
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
NUMBER = 1 << 61  # in place of a batch number: no batch has it, so no request is charged
OVERDUE_S = 120.0
ALONE = Batching(max_size=1)
Given = TypeVar("Given")


class Seen(NamedTuple):
    """A batch that was answered, and its outcomes."""

    copy: Copy
    batch: Sequence[QueuedRequest]
    outcomes: Sequence[Outcome]


class Evicted(Exception):
    """The copy is being evicted, so its check ends."""


class Guard:
    """Checks one batch per `run_once`. `is_idle()`: whether no batch runs or waits."""

    def __init__(
        self, context: WorkerContext, is_idle: Callable[[], bool], events: EventLog | None = None
    ) -> None:
        self._context = context
        self._is_idle = is_idle
        self._events = events
        self._seen: Seen | None = None
        self._not_before = 0.0
        self._spent = 0.0
        self._observed, self._ended = asyncio.Event(), asyncio.Event()

    def observe(
        self, copy: Copy, batch: Sequence[QueuedRequest], results: Sequence[Result]
    ) -> None:
        """A batch was answered: keep it if a check is due. On the warm path, where mostly none
        is."""
        if self._seen is not None or not (len(batch) > 1 or (copy.unproved and batch)):
            return
        now = clock.monotonic()
        if now < self._not_before or now < copy.check_at or copy.retiring:
            return
        outcomes = [result for result in results if isinstance(result, Outcome)]
        if (
            sum(request.size for request in batch) > MOST_BYTES
            or len(outcomes) < len(batch)
            or outcomes[0].timing.batch != len(batch)
            or (copy.unproved and not _has_inputs(batch[0], tried_names(copy.manifest)))
        ):
            return
        self._seen = Seen(copy, batch, outcomes)
        self._observed.set()

    def batch_ended(self) -> None:
        """The device may be idle now."""
        self._ended.set()

    async def run_once(self) -> int:
        """Check a kept batch as soon as the device is idle; 1 if something was found."""
        await self._observed.wait()
        seen, self._spent = self._seen, 0.0
        assert seen is not None
        try:
            return await (self._prove(seen) if seen.copy.unproved else self._check(seen))
        except Evicted:
            return 0
        finally:
            now = clock.monotonic()
            pause_s = min(FIRST_PAUSE_S * 2.0**seen.copy.checks, LONGEST_PAUSE_S)
            seen.copy.checks = min(seen.copy.checks + 1, 10)
            seen.copy.check_at = max(seen.copy.check_at, now + pause_s)
            self._not_before = now + self._spent / SHARE
            self._seen = None
            self._observed.clear()

    async def _check(self, seen: Seen) -> int:
        """Compare the answers of a batch with those of its requests alone."""
        found = await self._audit(seen)
        if found.unsteady:
            seen.copy.check_at = float("inf")
            log.warning("%s: %s", seen.copy.ref, found.reason)
            await self._record(seen.copy, {"repeats": found.reason})
        elif found.reason:
            await self._forbid(seen.copy, found.reason)
        return int(bool(found.reason))

    async def _audit(self, seen: Seen) -> Found:
        copy, batch = seen.copy, seen.batch
        audit = Audit(copy.manifest.outputs, [answers(outcome) for outcome in seen.outcomes])

        async def run(places: Sequence[int]) -> list[Answers]:
            return await self._run(copy, [batch[place] for place in places])

        even = len({request.items for request in batch}) == 1
        for place in random.sample(range(len(batch)), min(CHECKED, len(batch))):
            found = await audit.of(place, run, even)
            if found.reason:
                return found
        return Found()

    async def _prove(self, seen: Seen) -> int:
        """Repeat the trial of the load, which had no input or no time, with an answered request."""
        copy, inputs = seen.copy, batch_tensors.join(seen.batch[:1])
        await self._until_idle(copy)
        try:
            found = await self._on_device(copy, lambda: self._try(copy, inputs))
        except Interrupted:
            return 0  # tried again with a later batch
        copy.unproved = False
        if found.finding not in ("", INDEPENDENT):
            await self._forbid(copy, found.finding)
        elif found.pays:
            limits = copy.manifest.batching
            self._context.batcher.limit(
                copy.ref, structs.replace(limits, max_size=min(limits.max_size, found.most))
            )
        if found.finding == INDEPENDENT:
            await self._record(copy, {"rows": found.finding, "unwarmed": ""})
        return int(bool(found.finding))

    def _try(self, copy: Copy, inputs: Arrays) -> Tried:
        """On the device thread; ends as soon as a request arrives."""
        return try_batches(copy.manifest, copy.model, inputs, patient=True, go_on=self._is_idle)

    async def _forbid(self, copy: Copy, reason: str) -> None:
        self._context.batcher.limit(copy.ref, ALONE)
        log.warning("%s is served unbatched from now on: %s", copy.ref, reason)
        if self._events is not None:
            self._events.emit("unbatched", copy.ref, reason=reason)
        await self._record(copy, {"rows": reason})

    async def _record(self, copy: Copy, fields: dict[str, str]) -> None:
        member = self._context.membership
        await until_answered(
            lambda: self._context.scripts.record_stats(
                member.worker, member.epoch, copy.ref, fields
            )
        )

    # On the device -----------------------------------------------------------------------------

    async def _run(self, copy: Copy, requests: Sequence[QueuedRequest]) -> list[Answers]:
        """The answers of one call with these requests, once the device is idle."""
        await self._until_idle(copy)
        outputs = await self._on_device(copy, lambda: copy.model.run(batch_tensors.join(requests)))
        timings = [each.timing for each in (Outcome([]),) * len(requests)]
        split = batch_tensors.split(outputs, copy.manifest.outputs, requests, timings)
        return [answers(outcome) for outcome in split]

    async def _on_device(self, copy: Copy, call: Callable[[], Given]) -> Given:
        progress, started = self._context.progress, clock.monotonic()
        device_call = DeviceCall(progress, NUMBER, started + OVERDUE_S)

        def run() -> Given:
            device_call.start()
            try:
                return call()
            finally:
                device_call.end()

        copy.running += 1  # not freed meanwhile; unlike `acquire`, it does not count as used
        try:
            return await self._context.thread.run(run)
        except DeviceOutOfMemory as error:
            raise Evicted from error
        finally:
            copy.running -= 1
            self._spent += clock.monotonic() - started

    async def _until_idle(self, copy: Copy) -> None:
        while True:
            if copy.retiring or self._context.copies.get(copy.ref) is not copy:
                raise Evicted
            self._ended.clear()
            if self._is_idle():
                return
            await self._ended.wait()


def _has_inputs(request: QueuedRequest, tried: frozenset[str] | None) -> bool:
    """Whether a request has the inputs with which rows are to be proved independent."""
    return tried is None or tried == {tensor.name for tensor in request.envelope.inputs}


def answers(outcome: Outcome) -> Answers:
    """The outputs of one request as arrays, by name."""
    return {tensor.name: batch_tensors.to_array(tensor) for tensor in outcome.outputs}
