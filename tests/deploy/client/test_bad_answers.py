"""Answers over HTTP that are not those of a gateway of this version, by both clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from aiohttp import web

from warmroute import BadResponse, Client, ConnectionFailed

if TYPE_CHECKING:
    from tests.deploy.conftest import Stub

_PATH = "/v2/models/m/infer"


def test_a_field_that_an_older_server_lacks_is_named(stub: Stub, client: Client) -> None:
    """Where the client needs it, and where the caller looks for it."""

    async def empty(request: web.Request) -> web.Response:
        return web.json_response({"models": [{}]})

    for path in ("/v2/residency", "/v2/sessions", "/v2/events", "/v2/models/m/versions"):
        stub.answer("GET", path, empty)
    with pytest.raises(BadResponse, match="workers: missing"):
        client.workers()
    with pytest.raises(BadResponse, match="sessions: missing"):
        list(client.sessions())
    with pytest.raises(BadResponse, match="events: missing"):
        list(client.events())
    with pytest.raises(BadResponse, match="state: missing"):
        client.residency()["models"][0]["state"]
    assert client.versions("m").get("versions") is None


@pytest.mark.parametrize("status", [200, 204, 302])
def test_a_page_of_a_proxy_is_no_result(stub: Stub, client: Client, status: int) -> None:
    """Whatever its status: the error says what came."""

    async def page(request: web.Request) -> web.Response:
        headers = {"Location": "http://login", "Warmroute-Request-Id": "7"}
        return web.Response(status=status, text="<html>Welcome", headers=headers)

    stub.answer("POST", _PATH, page)
    with pytest.raises(BadResponse) as caught:
        client.infer("m", {"x": np.float32([1])})
    assert caught.value.request_id == "7"
    with pytest.raises(BadResponse, match="status"):
        client.submit("m", {"x": np.float32([1])})
    assert len(stub.seen) == 2  # nothing is sent twice


def test_a_response_that_ends_early_is_cut_off(stub: Stub, client: Client) -> None:
    """Fewer bytes than its Content-Length says."""

    async def half(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": "1000"})
        await answer.prepare(request)
        await answer.write(b"{")
        assert request.transport is not None
        request.transport.close()
        return answer

    stub.answer("POST", _PATH, half)  # type: ignore[arg-type]
    with pytest.raises(ConnectionFailed, match="cut off"):
        client.infer("m", {"x": np.float32([1])})
    assert len(stub.seen) == 1
