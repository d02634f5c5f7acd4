"""What is sent again, what is not, and when a call gives up. Both clients."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from aiohttp import web

from tests.helpers.wait import wait_until
from warmroute import AsyncClient, Client, ClientError, Overloaded, TimedOut

if TYPE_CHECKING:
    from tests.deploy.client.conftest import MakeClient
    from tests.deploy.conftest import Stub

INFER = ("POST", "/v2/models/m/infer")
POLICY = "/v2/models/m/policy"
X = {"x": np.float32([1])}


def refusing(status: int, **headers: str) -> Any:
    """A handler that always refuses."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}

    async def refuse(request: web.Request) -> web.Response:
        return web.json_response({"error": "no"}, status=status, headers=sent)

    return refuse


async def hang_up(request: web.Request) -> web.Response:
    """Closes the connection in place of a response."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


@pytest.mark.parametrize(
    ("handler", "key", "tries"),
    [
        (refusing(503, Retry_After="0"), None, 3), (refusing(429, Retry_After="0"), None, 3),
        (refusing(503), None, 1), (refusing(503), "k", 3), (refusing(502), "k", 1),
        (refusing(503, Retry_After="soon"), None, 1), (refusing(500, Retry_After="0"), "k", 1),
        (refusing(503, Retry_After="0", Warmroute_Error="outcome_unknown"), None, 1),
        (refusing(503, Retry_After="0", Warmroute_Error="outcome_unknown"), "k", 3),
        (hang_up, None, 1), (hang_up, "k", 3),
    ],
)  # fmt: skip
def test_an_inference_is_sent_again_only_where_nothing_can_run_twice(
    stub: Stub, client: Client, handler: Any, key: str | None, tries: int
) -> None:
    """The server says that nothing was accepted, or an idempotency key says that it is the same."""
    stub.answer(*INFER, handler)
    with pytest.raises(ClientError):
        client.infer("m", X, idempotency_key=key)
    assert len(stub.seen) == tries


@pytest.mark.parametrize(
    ("call", "method", "path", "tries"),
    [
        (lambda c: c.policy("m"), "GET", POLICY, 3),
        (lambda c: c.set_policy("m", {}), "PUT", POLICY, 3),
        (lambda c: c.models(), "POST", "/v2/repository/index", 3),
        (lambda c: c.load("m"), "POST", "/v2/repository/models/m/load", 3),
        (lambda c: c.pending("7").cancel(), "DELETE", "/v2/requests/7", 1),
        (lambda c: c.replay_dead_letter("7"), "POST", "/v2/dead/7/replay", 1),
    ],
)
def test_calls_of_an_operator_are_made_again_where_that_changes_nothing(
    stub: Stub, client: Client, call: Any, method: str, path: str, tries: int
) -> None:
    """The connection broke, so nobody knows whether the first was carried out."""
    stub.answer(method, path, hang_up)
    with pytest.raises(ClientError):
        call(client)
    assert len(stub.seen) == tries


def test_a_retry_that_could_not_begin_in_time_is_not_waited_for(stub: Stub, client: Client) -> None:
    """The caller's time is a limit of all tries together."""
    stub.answer(*INFER, refusing(503, Retry_After="60"))
    begun = time.monotonic()
    with pytest.raises(Overloaded):
        client.infer("m", X, timeout=20)
    assert len(stub.seen) == 1 and time.monotonic() - begun < 20


def test_a_response_that_does_not_come_is_timed_out(stub: Stub, make_client: MakeClient) -> None:
    """In the time of the client, where the call has none."""

    async def slow(request: web.Request) -> web.Response:
        await asyncio.sleep(3)
        return web.Response()

    stub.answer("GET", "/v2/models/m", slow)
    with make_client(stub.url, timeout=0.3) as client, pytest.raises(TimedOut):
        client.model("m")


def test_a_response_that_trickles_is_timed_out(stub: Stub, make_client: MakeClient) -> None:
    """Though a byte comes every now and then."""

    async def trickle(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        for _ in range(1200):
            await answer.write(b" ")
            await asyncio.sleep(0.05)
        return answer

    stub.answer("GET", "/v2/models/m", trickle)
    begun = time.monotonic()
    with make_client(stub.url, timeout=0.3) as client, pytest.raises(TimedOut):
        client.model("m")
    assert time.monotonic() - begun < 30


def test_more_callers_than_connections_wait_for_one(stub: Stub, make_client: MakeClient) -> None:
    """In turn, in the time that each has."""

    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(0.02)
        return stub.outputs({"y": np.float32([1])})

    stub.answer(*INFER, answer)
    with make_client(stub.url, connections=1) as client:
        assert len(list(client.map("m", [X] * 6, concurrency=6))) == 6


async def test_a_task_that_is_cancelled_closes_its_connection(stub: Stub) -> None:
    """So the gateway can take the request back, and other tasks go on."""
    begun, left = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    async def slow(request: web.Request) -> web.Response:
        loop.call_soon_threadsafe(begun.set)
        await wait_until(lambda: request.transport is None)
        loop.call_soon_threadsafe(left.set)
        return web.Response()

    stub.answer(*INFER, slow)
    async with AsyncClient(stub.url) as client:
        task = asyncio.create_task(client.infer("m", X))
        await begun.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.wait_for(left.wait(), 60)
        assert task.cancelled() and not await client.ready()


def test_a_transport_of_the_callers_own_is_used() -> None:
    """For TLS settings, a proxy, or a test without a server."""

    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"name": request.url.path, "host": request.headers["Host"]})

    with Client("http://gateway:81/base", transport=httpx.MockTransport(handle)) as client:
        assert client.model("m") == {"name": "/base/v2/models/m", "host": "gateway:81"}
