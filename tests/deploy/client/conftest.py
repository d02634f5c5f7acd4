"""Each test of calls runs with both clients: `AsyncClient` behind a bridge that blocks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Self, cast

import pytest

from warmroute import AsyncClient, AsyncPending, AsyncSession, Client

if TYPE_CHECKING:
    from tests.deploy.conftest import Stub

MakeClient = Callable[..., Client]


class Bridge:
    """An object of the async client, on an event loop in a thread; its calls block."""

    def __init__(self, inner: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._inner = inner
        self._loop = loop

    def __repr__(self) -> str:
        return repr(self._inner).removeprefix("Async")

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found
        return lambda *given, **named: self._blocking(found(*given, **named))

    def __enter__(self) -> Self:
        self._wait(self._inner.__aenter__())
        return self

    def __exit__(self, *error: Any) -> None:
        self._wait(self._inner.__aexit__(*error))

    def _blocking(self, value: Any) -> Any:
        if isinstance(value, AsyncIterator):
            return self._iterate(value)
        if isawaitable(value):
            return self._blocking(self._wait(cast(Coroutine[Any, Any, Any], value)))
        if isinstance(value, AsyncPending | AsyncSession):
            return Bridge(value, self._loop)
        return value

    def _iterate(self, values: Any) -> Iterator[Any]:
        async def following() -> Any:
            return await anext(values)

        try:
            while True:
                try:
                    yield self._wait(following())
                except StopAsyncIteration:
                    return
        finally:
            self._wait(values.aclose())

    def _wait(self, started: Coroutine[Any, Any, Any]) -> Any:
        async def whole() -> Any:
            return await started

        return asyncio.run_coroutine_threadsafe(whole(), self._loop).result()


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop that runs in a thread of its own."""
    made = asyncio.new_event_loop()
    thread = threading.Thread(target=made.run_forever)
    thread.start()
    yield made
    made.call_soon_threadsafe(made.stop)
    thread.join(60)
    made.close()


@pytest.fixture(params=["sync", "async"])
def make_client(request: pytest.FixtureRequest) -> MakeClient:
    """Makes a client from the arguments of `Client`: that, or the other one."""
    if request.param == "sync":
        return Client
    loop = request.getfixturevalue("loop")
    return lambda *given, **named: cast(Client, Bridge(AsyncClient(*given, **named), loop))


@pytest.fixture
def client(stub: Stub, make_client: MakeClient) -> Iterator[Client]:
    """A client of the stub."""
    with make_client(stub.url, timeout=10.0) as client:
        yield client
