"""What no client can do to a gateway, at whichever path it tries."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from router.rest import context as context_module
from router.rest.routes import routes
from shared.errors import Overloaded
from tests.helpers.cell import Cell
from tests.helpers.gateway import INFER, RunningGateway, publish_nothing, running_gateway
from tests.helpers.wait import wait_until

LIMIT = 1 << 20
BOMB = gzip.compress(b"[" * LIMIT * 16)
VALUES = {
    "model": "mnist", "version": "1", "id": "0" * 32, "entry": "1-1", "repository": "r",
    "region": "r", "verb:load|unload": "load",
}  # fmt: skip
BODIES = [
    (route.method, path)
    for route in routes()
    if route.method in ("POST", "PUT", "DELETE")
    for path in [route.path.format_map(VALUES)]
    if not path.endswith("/")
]
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def gateway(cell: Cell, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    bounds = {"WARMROUTE_MAX_BODY_BYTES": str(LIMIT), "WARMROUTE_MAX_CONNECTIONS": "600"}
    async with running_gateway(cell, publish_nothing(tmp_path), **bounds) as gateway:
        yield gateway


@pytest.fixture
def impatient(gateway: RunningGateway) -> RunningGateway:
    """It does not wait long for a head or a body."""
    connections = gateway._runner.connections
    connections.bounds = replace(connections.bounds, header_s=0.4, body_s=0.4)
    return gateway


async def answered(gateway: RunningGateway, sent: bytes) -> int:
    """The status of the answer to these bytes; 0 if there is none."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(sent)
    try:
        line = await asyncio.wait_for(reader.readline(), 60)
        return int(line.split()[1]) if line else 0
    except ConnectionResetError:
        return 0
    finally:
        writer.transport.abort()


@pytest.mark.parametrize(("method", "path"), BODIES)
async def test_a_bomb_is_not_unpacked(gateway: RunningGateway, method: str, path: str) -> None:
    """16 MiB in some kilobytes: refused as too large by the calls of models, as a coding that is
    not offered by all others that read a body."""
    headers = {"Content-Encoding": "gzip", **JSON}
    async with gateway.http.request(method, path, data=BOMB, headers=headers) as answer:
        expected = {413} if path.endswith("/infer") else {501, 404, 204}
        assert answer.status in expected, await answer.text()


@pytest.mark.parametrize(("method", "path"), BODIES)
async def test_a_body_without_an_end_is_not_read_for_ever(
    impatient: RunningGateway, method: str, path: str
) -> None:
    """Neither one that grows, nor one that stops."""
    gateway = impatient
    head = f"{method} {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    statuses = await asyncio.gather(
        answered(gateway, head + 40 * piece), answered(gateway, head + b"1\r\n{\r\n")
    )
    assert all(status in (0, 204, 400, 404, 408, 413, 415, 501) for status in statuses), statuses
    await wait_until(lambda: not gateway._runner.connections.connections)


async def test_hundreds_of_slow_heads_hold_up_nobody(impatient: RunningGateway) -> None:
    """Each sends its first byte and no more; all are closed, and a call between is answered."""
    gateway = impatient
    opened = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(400)]
    for _, writer in opened:
        writer.write(b"G")
    assert (await gateway.get("/v2/health/live"))[0] == 200
    lines = await asyncio.gather(*(reader.readline() for reader, _ in opened))
    assert {line.split()[1] for line in lines if line} <= {b"408"}
    for _, writer in opened:
        writer.transport.abort()


async def test_a_small_document_is_read_up_to_its_limit_and_no_further(
    gateway: RunningGateway,
) -> None:
    """However it is sent: the body may be as large as that of a model, the document may not."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(8):
            yield b" " * (1 << 16)

    async with gateway.http.post("/v2/sessions", data=pieces(), headers=JSON) as answer:
        assert answer.status == 413
        assert str(context_module.SMALL_BODY) in (await answer.json())["error"]


async def test_every_call_counts_before_its_body_is_read(gateway: RunningGateway) -> None:
    """But health checks, which a balancer needs most then."""
    admission = gateway.context.admission
    while True:
        try:
            admission.enter(1 << 20)
        except Overloaded:
            break
    async with gateway.http.post("/v2/sessions", data=b"{}", headers=JSON) as answer:
        assert answer.status == 429
    assert (await gateway.get("/v2/health/ready"))[0] == 200


NUMBERS = [
    "/v2/dead?limit=00000000199999999", "/v2/dead?limit=1001", "/v2/dead?limit=0",
    "/v2/dead?limit=-1", "/v2/dead?limit=1e1", "/v2/dead?limit=%D9%A1", "/v2/dead?limit=",
    "/v2/events?limit=00000000199999999", "/v2/sessions?limit=99999999999999999999",
    "/v2/requests?limit=00000000199999999", f"/v2/requests/{'0' * 32}?wait=nan",
    f"/v2/requests/{'0' * 32}?wait=1_0", f"/v2/requests/{'0' * 32}?wait=%D9%A1",
    f"/v2/requests/{'0' * 32}?wait=inf", f"/v2/requests/{'0' * 32}?wait=61",
    f"/v2/requests?after=%D9%A1-{'0' * 32}", "/v2/events?since=1-99999999999999999999",
    "/v2/events?since=%D9%A1s", "/v2/events?since=9999999d",
]  # fmt: skip


@pytest.mark.parametrize("path", NUMBERS)
async def test_a_number_is_refused_unless_all_of_it_is_one(
    gateway: RunningGateway, path: str
) -> None:
    """No check looks at a part of what is used after it."""
    assert (await gateway.get(path))[0] == 400


@pytest.mark.parametrize("entry", ["%D9%A1-%D9%A1", "1-1-1", "0", "99999999999999999999-0"])
async def test_an_entry_that_is_no_id_is_not_there(gateway: RunningGateway, entry: str) -> None:
    """Nor is it an error of Redis."""
    assert (await gateway.get(f"/v2/dead/{entry}"))[0] == 404


FOREIGN = [
    {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:3000"}, {"Origin": "http://["},
    {"Origin": "http://evil.example:8000", "Host": "evil.example:8000"},  # bound to us anew
    {"Origin": "https://Evil.Example", "Host": "evil.example"}, {"Origin": "http://", "Host": ""},
]  # fmt: skip


@pytest.mark.parametrize("headers", FOREIGN)
async def test_a_page_of_another_origin_changes_nothing(
    gateway: RunningGateway, headers: dict[str, str]
) -> None:
    """At every path that is no mere read."""
    for method, path in [("POST", "/v2/repository/models/mnist/unload"), ("POST", INFER),
                         ("DELETE", "/v2/dead/1-1"), ("POST", "/v2/sessions")]:  # fmt: skip
        async with gateway.http.request(method, path, headers=headers) as answer:
            assert answer.status == 403, path
            assert "Origin" in json.loads(await answer.text())["error"]


OWN: list[dict[str, str]] = [
    {}, {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "https://cell.example", "Host": "cell.example"},
    {"Origin": "http://localhost:8000", "Host": "localhost:8000"},
    {"Origin": "http://[::1]:8000", "Host": "[::1]:8000"},
]  # fmt: skip


@pytest.mark.parametrize("own", OWN)
async def test_a_page_of_this_address_may(gateway: RunningGateway, own: dict[str, str]) -> None:
    """By what the browser says, or by the address."""
    headers = {**JSON, "Origin": gateway.url, **own}
    async with gateway.http.post("/v2/sessions", data=b"{}", headers=headers) as answer:
        assert answer.status == 400
        assert "models" in (await answer.json())["error"]


@pytest.mark.parametrize("given", ["text/plain", "multipart/form-data; boundary=a",
                                   "application/x-www-form-urlencoded", "text/html"])  # fmt: skip
async def test_a_form_changes_nothing(gateway: RunningGateway, given: str) -> None:
    """What a page can send without leave is no JSON."""
    path = "/v2/repository/models/mnist/unload"
    async with gateway.http.post(path, data=b"{}", headers={"Content-Type": given}) as answer:
        assert answer.status == 415
        assert "application/json" in (await answer.json())["error"]


@pytest.mark.parametrize("body", [b"", b'{"parameters": {}}'])
async def test_a_client_that_names_no_content_type_is_served(
    gateway: RunningGateway, body: bytes
) -> None:
    """As tritonclient's calls of load and unload are."""
    head = b"POST /v2/repository/models/mnist/unload HTTP/1.1\r\nHost: a\r\nContent-Length: %d"
    assert await answered(gateway, head % len(body) + b"\r\n\r\n" + body) == 200
