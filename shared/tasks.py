"""Tasks that are not awaited: referenced until they end, so that they are not collected before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


class BackgroundTasks(Generic[Result]):
    """The background tasks of one owner. asyncio itself keeps weak references only. `on_end` is
    called when one has ended."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Result]] = set()
        self.on_end: Callable[[], object] = lambda: None

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[asyncio.Task[Result]]:
        return iter(tuple(self._tasks))

    def start(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Run `work`. An exception stays in the returned task: `work` handles its own errors, or
        its caller looks at the task."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Result]) -> None:
        self._tasks.discard(task)
        self.on_end()

    async def finish(self, longest_s: float) -> None:
        """Wait up to `longest_s` seconds for the tasks under way, then cancel the rest."""
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=longest_s)
            for task in left:
                task.cancel()
