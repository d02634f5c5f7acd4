"""Handles of a submitted request, blocking or with asyncio: read its status, wait, or cancel it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol, TypeVar

from warmroute import polling
from warmroute.call import Exchange, Flow
from warmroute.errors import InvalidInput, ServerError
from warmroute.inference import check_seconds
from warmroute.response import Document
from warmroute.result import Result

T = TypeVar("T")


class Run(Protocol):
    """Runs a flow to its end."""

    def __call__(self, flow: Flow[T], /) -> T: ...


class AsyncRun(Protocol):
    """Runs a flow to its end with asyncio."""

    def __call__(self, flow: Flow[T], /) -> Awaitable[T]: ...


class _Flows:
    """What both handles ask of the server."""

    def __init__(self, exchange: Exchange, request_id: str) -> None:
        if not isinstance(request_id, str) or not request_id:
            raise InvalidInput(f"request {request_id!r}: a request id must be text")
        self.id = request_id
        self._exchange = exchange

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    def _describing(self) -> Flow[Document]:
        return self._exchange(polling.describe(self.id))

    def _waiting(self, timeout: float | None) -> Flow[Result]:
        limit_s = None if timeout is None else check_seconds("timeout", timeout)
        return polling.wait_for_result(self._exchange, self.id, limit_s)

    def _cancelling(self) -> Flow[bool]:
        try:
            yield from self._exchange(polling.cancel(self.id))
        except ServerError as error:
            if error.status == 409:
                return False
            raise
        return True


class Pending(_Flows):
    """A submitted request; `client.pending(id)` makes the same handle in another process."""

    def __init__(self, run: Run, exchange: Exchange, request_id: str) -> None:
        super().__init__(exchange, request_id)
        self._run = run

    def status(self) -> str:
        """The state: queued, running, succeeded, failed, cancelled or expired."""
        return str(self.describe()["status"])

    def describe(self) -> Document:
        """The whole status document: `status`, `model`, `worker`, `error`, what it waits for."""
        return self._run(self._describing())

    def result(self, timeout: float | None = None) -> Result:
        """Wait until the request has ended and return its outputs.

        A gateway that does not answer for up to 30 seconds is waited for: the request does not
        depend on it.

        Args:
            timeout: seconds to wait; None waits as long as it takes.

        Raises:
            RequestFailed: the request ended as failed, cancelled or expired.
            TimedOut: it has not ended yet, and goes on.
            Gone: it ended so long ago that its outcome is no longer kept.
        """
        return self._run(self._waiting(timeout))

    def cancel(self) -> bool:
        """Cancel the request; False if it had already ended."""
        return self._run(self._cancelling())


class AsyncPending(_Flows):
    """A submitted request; `client.pending(id)` makes the same handle in another process."""

    def __init__(self, run: AsyncRun, exchange: Exchange, request_id: str) -> None:
        super().__init__(exchange, request_id)
        self._run = run

    async def status(self) -> str:
        """The state: queued, running, succeeded, failed, cancelled or expired."""
        return str((await self.describe())["status"])

    async def describe(self) -> Document:
        """The whole status document: `status`, `model`, `worker`, `error`, what it waits for."""
        return await self._run(self._describing())

    async def result(self, timeout: float | None = None) -> Result:
        """Wait until the request has ended and return its outputs.

        Args:
            timeout: seconds to wait; None waits as long as it takes.

        Raises:
            RequestFailed: the request ended as failed, cancelled or expired.
            TimedOut: it has not ended yet, and goes on.
            Gone: it ended so long ago that its outcome is no longer kept.
        """
        return await self._run(self._waiting(timeout))

    async def cancel(self) -> bool:
        """Cancel the request; False if it had already ended."""
        return await self._run(self._cancelling())
