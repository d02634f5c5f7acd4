"""Tasks that nobody awaits are kept until they end."""

from __future__ import annotations

import asyncio

from shared.tasks import BackgroundTasks
from tests.helpers.wait import wait_until


async def test_tasks_are_kept_until_they_end() -> None:
    """The result stays in the task."""
    tasks, go = BackgroundTasks[bool](), asyncio.Event()
    task = tasks.start(go.wait())
    await asyncio.sleep(0)
    assert (len(tasks), list(tasks)) == (1, [task])
    go.set()
    await wait_until(lambda: len(tasks) == 0)
    assert task.result()


async def test_what_does_not_end_in_time_is_cancelled() -> None:
    """An empty set ends at once."""
    tasks = BackgroundTasks[bool]()
    await tasks.finish(10.0)
    task = tasks.start(asyncio.Event().wait())
    await tasks.finish(0.01)
    await wait_until(task.done)
    assert task.cancelled()
