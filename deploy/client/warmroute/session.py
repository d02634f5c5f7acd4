"""A session: models that stay in memory while a program needs them, kept by a thread or a task."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

from warmroute import operations
from warmroute.call import Exchange, Flow
from warmroute.errors import ClientError, NotFound, Rejected
from warmroute.inference import check_seconds
from warmroute.pending import AsyncRun, Run
from warmroute.response import Document, as_objects, needed

ModelName = str | tuple[str, int]
HEARTBEATS = 3  # within the time to live, so that two may be lost


@dataclass(frozen=True, kw_only=True)
class SessionPlan:
    """What a session asks for, and the flows of its life."""

    models: Iterable[ModelName]
    ttl_s: float
    wait: bool
    timeout_s: float | None
    id: str

    @classmethod
    def of(
        cls, models: Iterable[ModelName], ttl: float, wait: bool, timeout: float | None,
        id: str | None,
    ) -> SessionPlan:  # fmt: skip
        """A plan with checked times; without an `id` it has a random one."""
        timeout_s = None if timeout is None else check_seconds("timeout", timeout)
        return cls(
            models=list(models), ttl_s=check_seconds("ttl", ttl), wait=wait, timeout_s=timeout_s,
            id=id or secrets.token_hex(16),
        )  # fmt: skip

    @property
    def interval_s(self) -> float:
        """Seconds from one heartbeat to the next."""
        return self.ttl_s / HEARTBEATS

    def opening(self, exchange: Exchange, wait: bool) -> Flow[Document]:
        """Open it; its document."""
        call = operations.open_session(
            self.id, [_named(model) for model in self.models], self.ttl_s, wait, self.timeout_s
        )
        opened = yield from exchange(call)
        as_objects(needed(opened, "models", "a list of objects"), "models")
        return opened

    def heartbeat(self, exchange: Exchange) -> Flow[None]:
        """Keep it; open it again if the server no longer knows it."""
        call = replace(operations.keep_session(self.id, self.ttl_s), timeout_s=self.interval_s)
        try:
            yield from exchange(call)
        except NotFound:  # no gateway could be reached for longer than it lasts, or Redis lost it
            yield from self.opening(exchange, wait=False)


class _State:
    """What a caller sees of a session.

    Attributes:
        id: the session's name at the server.
        models: the state of each model when the session was opened.
        error: why the last heartbeat failed; None while the session is kept. Its models may be
            evicted then, and nothing else changes.
    """

    def __init__(self, exchange: Exchange, plan: SessionPlan) -> None:
        self.id = plan.id
        self.models: list[Document] = []
        self.error: ClientError | None = None
        self._exchange = exchange
        self._plan = plan

    def _noted(self, error: ClientError | None) -> bool:
        """Whether the session goes on: another heartbeat may succeed, unless it was rejected."""
        self.error = error
        return not isinstance(error, Rejected)


class Session(_State):
    """Used by `with`: its models stay in memory while the block runs."""

    def __init__(self, run: Run, exchange: Exchange, plan: SessionPlan) -> None:
        super().__init__(exchange, plan)
        self._run = run
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"session {self.id}", daemon=True)

    def __enter__(self) -> Self:
        self.models = self.open()["models"]
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        with suppress(ClientError):  # a session that is not closed ends after its ttl
            self._run(self._exchange(operations.close_session(self.id)))

    def open(self) -> Document:
        """Open the session without keeping it: its document. It ends after its ttl."""
        return self._run(self._plan.opening(self._exchange, self._plan.wait))

    def _keep(self) -> None:
        going = True
        while going and not self._ended.wait(self._plan.interval_s):
            try:
                self._run(self._plan.heartbeat(self._exchange))
                going = self._noted(None)
            except ClientError as error:
                going = self._noted(error)


class AsyncSession(_State):
    """Used by `async with`: its models stay in memory while the block runs."""

    def __init__(self, run: AsyncRun, exchange: Exchange, plan: SessionPlan) -> None:
        super().__init__(exchange, plan)
        self._run = run
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.models = (await self.open())["models"]
        self._task = asyncio.create_task(self._keep(), name=f"session {self.id}")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with suppress(ClientError):  # a session that is not closed ends after its ttl
            await self._run(self._exchange(operations.close_session(self.id)))

    async def open(self) -> Document:
        """Open the session without keeping it: its document. It ends after its ttl."""
        return await self._run(self._plan.opening(self._exchange, self._plan.wait))

    async def _keep(self) -> None:
        going = True
        while going:
            await asyncio.sleep(self._plan.interval_s)
            try:
                await self._run(self._plan.heartbeat(self._exchange))
                going = self._noted(None)
            except ClientError as error:
                going = self._noted(error)


def _named(model: ModelName) -> Any:
    return model if isinstance(model, str) else {"name": model[0], "version": model[1]}
