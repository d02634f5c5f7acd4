"""Following events by the client, against a real gateway: killed, drained, full, or gone."""

from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from tests.helpers.cell import Cell
from tests.helpers.following import write_many
from tests.helpers.gateway import publish_nothing, running_gateway
from tests.helpers.proxy import Proxy
from tests.helpers.wait import wait_until
from warmroute import Client, ConnectionFailed, Overloaded, operations
from warmroute import events as module
from warmroute.events import Blocks
from warmroute.response import Response

if TYPE_CHECKING:
    from tests.deploy.client.conftest import MakeClient
    from tests.deploy.conftest import Stub


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not wait long before it asks again."""
    monkeypatch.setattr(module, "PAUSE_S", 0.01)


async def test_a_follower_sees_each_event_once_though_its_connections_break(
    cell: Cell, tmp_path: Path, make_client: MakeClient
) -> None:
    """In order; cut off in the middle of whatever was on its way."""
    async with running_gateway(cell, publish_nothing(tmp_path)) as gateway:
        async with Proxy.to(gateway.url) as proxy:
            seen: list[int] = []
            with make_client(f"http://127.0.0.1:{proxy.url.split(':')[2].split('/')[0]}") as client:
                following = asyncio.create_task(asyncio.to_thread(_take, client, seen, 200))
                for first in range(0, 200, 20):
                    await write_many(cell, 20, first=first, reason="x" * 300)
                    await wait_until(lambda: len(seen) > first)  # noqa: B023
                    proxy.cut()
                await following
    assert seen == list(range(200))


def _take(client: Client, seen: list[int], count: int) -> None:
    for event in itertools.islice(client.events(follow=True, since="0"), count):
        seen.append(event["bytes"])


async def test_pages_come_one_after_the_other(
    cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_client: MakeClient
) -> None:
    """With `since` all of them, with `limit` so many at most."""
    monkeypatch.setattr(operations, "EVENTS", 10)
    await write_many(cell, 25)
    async with running_gateway(cell, publish_nothing(tmp_path)) as gateway:
        with make_client(gateway.url) as client:

            def numbers(**given: object) -> list[int]:
                return [event["bytes"] for event in client.events(**given)]  # type: ignore[arg-type]

            assert await asyncio.to_thread(numbers, since="0") == list(range(25))
            assert await asyncio.to_thread(numbers, since="0", limit=12) == list(range(12))
            assert await asyncio.to_thread(numbers, limit=3) == [22, 23, 24]
            assert await asyncio.to_thread(numbers, kinds=["evicted"]) == []
            fleet = await asyncio.to_thread(client.residency)
            assert fleet == {"workers": [], "models": [], "loads": []}
            one = await asyncio.to_thread(client.model_residency, "mnist", 1)
            assert (one["name"], one["copies"]) == ("mnist", [])


def test_without_a_gateway_following_ends_in_the_end(
    stub: Stub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what was wrong last: it is full, or hangs up at once."""
    now = SimpleNamespace(monotonic=lambda: 100.0 * len(stub.seen), sleep=time.sleep)
    monkeypatch.setattr(module, "time", now)
    monkeypatch.setattr(module, "PATIENCE_S", 150.0)  # two requests

    async def full(request: web.Request) -> web.Response:
        headers = {"Retry-After": "1"}
        return web.json_response({"error": "limit of 100"}, status=503, headers=headers)

    stub.answer("GET", "/v2/events", full)
    with pytest.raises(Overloaded, match="limit of 100"):
        next(client.events(follow=True))
    assert len(stub.seen) == 2

    async def hang_up(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    stub.answer("GET", "/v2/events", hang_up)
    with pytest.raises(ConnectionFailed):
        next(client.events(follow=True))


def test_a_follower_gives_its_connection_back(stub: Stub, make_client: MakeClient) -> None:
    """However it ends, others can use the client."""

    async def one(request: web.Request) -> web.Response:
        text = 'id: 1-0\ndata: {"kind": "loaded"}\n\n'
        return web.Response(text=text, content_type="text/event-stream")

    stub.answer("GET", "/v2/events", one)
    with make_client(stub.url, connections=1, timeout=5) as client:
        for _ in range(3):
            following = client.events(follow=True)
            assert next(following) == {"kind": "loaded"}
            following.close()  # type: ignore[attr-defined]
        assert not client.ready()  # answered, with 404


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_blocks_are_read_as_the_standard_says(size: int) -> None:
    """An empty line ends one; a comment is the field without a name; CRLF is a line end too; what
    was cut short is no event. However the bytes are cut into chunks."""
    stream = b": hello\nid:1-0\r\ndata: {}\r\n\r\nevent: gap\n\nid: 2"
    blocks = Blocks(Response(200, {"Content-Type": "text/event-stream"}, b""))
    chunks = [stream[at : at + size] for at in range(0, len(stream), size)]
    found = [block for chunk in chunks for block in blocks.feed(chunk)]
    assert found == [{"": "hello", "id": "1-0", "data": "{}"}, {"event": "gap"}]
