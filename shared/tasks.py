"""Tasks that are not awaited: referenced until they end, so that they are not collected before."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


class BackgroundTasks(Generic[Result]):
    """The background tasks of one owner. asyncio itself keeps weak references only."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Result]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[asyncio.Task[Result]]:
        return iter(tuple(self._tasks))

    def start(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Run `work`. An exception stays in the returned task: `work` handles its own errors, or
        its caller looks at the task."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def finish(self, longest_s: float) -> None:
        """Wait up to `longest_s` seconds for the tasks under way, then cancel the rest."""
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=longest_s)
            for task in left:
                task.cancel()
