"""Inference over many inputs: a bounded number at once, results in the order of the inputs."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from warmroute.errors import ClientError, InvalidInput
from warmroute.inference import Parameters
from warmroute.result import Result

Progress = Callable[[int, int | None], None]
Errors = Literal["raise", "return"]
Outcome = Result | ClientError


class InferOptions(TypedDict, total=False):
    """Options of `infer` that `map` passes on."""

    version: int | None
    outputs: Iterable[str] | None
    parameters: Parameters | None
    timeout: float | None


@dataclass(frozen=True)
class MapPlan:
    """How `map` goes through its inputs."""

    inputs: Iterable[Any]
    concurrency: int
    errors: Errors
    progress: Progress | None

    def __post_init__(self) -> None:
        if not isinstance(self.concurrency, int) or self.concurrency < 1:
            raise InvalidInput(f"concurrency: {self.concurrency!r}, want a whole number from 1")
        if self.errors not in ("raise", "return"):
            raise InvalidInput(f"errors: {self.errors!r}, want 'raise' or 'return'")

    @property
    def window(self) -> int:
        """How many inputs are read ahead, so that one slow request does not hold up the rest."""
        return 2 * self.concurrency

    def done(self, count: int) -> None:
        """Report progress."""
        if self.progress is not None:
            total = len(self.inputs) if isinstance(self.inputs, Sized) else None
            self.progress(count, total)


def map_blocking(infer: Callable[[Any], Result], plan: MapPlan) -> Iterator[Outcome]:
    """Outcomes in order, computed by threads. What has not started is dropped at an early end."""
    running: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(plan.concurrency, thread_name_prefix="warmroute map")
    try:
        count, inputs = 0, iter(plan.inputs)
        while True:
            for given in inputs:
                running.append(pool.submit(infer, given))
                if len(running) >= plan.window:
                    break
            if not running:
                return
            outcome = _outcome(running.popleft(), plan.errors)
            count += 1
            plan.done(count)
            yield outcome
    finally:
        pool.shutdown(cancel_futures=True)


async def map_async(
    infer: Callable[[Any], Awaitable[Result]], plan: MapPlan
) -> AsyncIterator[Outcome]:
    """Outcomes in order, computed by tasks. All are cancelled at an early end."""
    running: deque[asyncio.Future[Result]] = deque()
    gate = asyncio.Semaphore(plan.concurrency)

    async def one(given: Any) -> Result:
        async with gate:
            return await infer(given)

    try:
        count, inputs = 0, iter(plan.inputs)
        while True:
            for given in inputs:
                running.append(asyncio.create_task(one(given)))
                if len(running) >= plan.window:
                    break
            if not running:
                return
            await asyncio.wait([running[0]])
            outcome = _outcome(running.popleft(), plan.errors)
            count += 1
            plan.done(count)
            yield outcome
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _outcome(ended: Future[Result] | asyncio.Future[Result], errors: Errors) -> Outcome:
    try:
        return ended.result()
    except ClientError as error:
        if errors == "raise":
            raise
        return error
