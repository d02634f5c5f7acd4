"""The exit status of a device process, by which its parent knows what to do next."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from typing import Any

import pytest

import worker.app
import worker.process
from shared.config import WorkerConfig
from tests.helpers.wait import wait_until
from worker.supervisor.progress import Progress
from worker.supervisor.restart import DRAINED, RECYCLED, RestartRequest


class Left(Exception):
    """The process has ended, with this status."""


class Worker:
    """A worker that runs until it is stopped, or requests a restart."""

    def __init__(self) -> None:
        self.restart = RestartRequest()
        self.stopping = asyncio.Event()

    @classmethod
    async def open(
        cls, config: Any, progress: Any, send: Callable[..., None], visible: str | None
    ) -> Worker:
        made = cls()
        send(worker=made)
        return made

    async def run(
        self, hot: Sequence[str] = (), served_before: bool = False, suspect: str = "",
        parent: str = "",
    ) -> None:  # fmt: skip
        await self.stopping.wait()

    def stop(self) -> None:
        self.stopping.set()


class Line:
    """The link to the parent. The first message comes from the worker itself."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self.worker: Worker

    async def receive(self) -> dict[str, Any] | None:
        return await self.said.get()

    def send(self, **message: Any) -> None:
        self.worker = message["worker"]


class Pair:
    """A device process that serves (`task`), its worker, and the line to its parent."""

    def __init__(self, line: Line, task: asyncio.Task[None]) -> None:
        self.line, self.task = line, task

    @property
    def worker(self) -> Worker:
        return self.line.worker

    async def status(self) -> int:
        """How it ended."""
        async with asyncio.timeout(20):
            with pytest.raises(Left) as left:
                await self.task
        return int(left.value.args[0])


@pytest.fixture
async def pair(monkeypatch: pytest.MonkeyPatch) -> Pair:
    """Begun, by a parent that is this process's own."""

    def leave(status: int) -> None:
        raise Left(status)

    class Links:
        @staticmethod
        async def open(line: Line) -> Line:
            return line

    monkeypatch.setattr(worker.app, "Worker", Worker)
    monkeypatch.setattr(worker.process, "Link", Links)
    monkeypatch.setattr(worker.process, "_leave", leave)
    monkeypatch.setenv("RQ_KEY_PREFIX", "")
    line = Line()
    line.said.put_nowait({"hot": [], "served_before": True})
    running: Any = worker.process._run(WorkerConfig(), os.getppid(), line, Progress())  # type: ignore[arg-type]
    made = Pair(line, asyncio.create_task(running))
    await wait_until(lambda: hasattr(line, "worker"))
    return made


async def test_a_requested_restart_shows_in_the_exit_status(pair: Pair) -> None:
    """Its parent starts the next one."""
    assert pair.worker.restart.request("it leaks")
    pair.worker.stop()
    assert await pair.status() == RECYCLED


@pytest.mark.parametrize("how", ["signal", "its parent has gone"])
async def test_a_process_that_was_asked_to_stop_is_not_replaced(pair: Pair, how: str) -> None:
    """Though it had asked for that just before."""
    pair.worker.restart.request("it leaks")
    if how == "signal":
        os.kill(os.getpid(), signal.SIGTERM)
    else:
        pair.line.said.put_nowait(None)
    assert await pair.status() == DRAINED


async def test_its_parent_can_refuse_restarts(pair: Pair) -> None:
    """Then it goes on to serve."""
    pair.line.said.put_nowait({"restart_not_before_s": 600})
    await wait_until(lambda: pair.line.said.empty() and pair.worker.restart._not_before > 0)
    assert not pair.worker.restart.request("it leaks")
    pair.worker.stop()
    assert await pair.status() == DRAINED
