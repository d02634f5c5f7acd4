"""How long a gateway bears with a client: slow heads, bodies and readers, and too many of them."""

from __future__ import annotations

import asyncio
import json
import logging
import resource
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from router.rest import connection_limits, server
from router.rest.connection_limits import Connection
from shared.envelope import Outcome, pack
from tests.helpers.cell import Cell
from tests.helpers.factories import tensor
from tests.helpers.gateway import (
    BODY,
    INFER,
    TENSOR,
    RunningGateway,
    answer_all,
    publish_nothing,
    running_gateway,
)
from tests.helpers.wait import wait_until

BOUND_S = 0.4
MOST = 5
HEAD = f"POST {INFER} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(BODY)}\r\n".encode()
PING = b"GET /v2 HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
async def gateway(cell: Cell, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    """One that is impatient, and takes five connections."""
    bounds = {
        "WARMROUTE_HEADER_S": str(BOUND_S), "WARMROUTE_BODY_S": str(BOUND_S),
        "WARMROUTE_MAX_CONNECTIONS": str(MOST),
    }  # fmt: skip
    async with running_gateway(cell, publish_nothing(tmp_path), **bounds) as gateway:
        yield gateway


def be_patient(gateway: RunningGateway) -> None:
    """From now on it bears with slow clients: this machine may be slow."""
    connections = gateway._runner.connections
    connections.bounds = replace(connections.bounds, header_s=60.0, body_s=60.0)


class Client:
    """A bare connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def to(cls, gateway: RunningGateway, limit: int = 1 << 16) -> Client:
        """A connection to `gateway`."""
        return cls(*await asyncio.open_connection("127.0.0.1", gateway.port, limit=limit))

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def trickle(self, data: bytes, every_s: float) -> None:
        """A byte at a time, as long as the connection lasts."""
        for byte in data:
            if self.reader.at_eof():
                return
            self.send(bytes([byte]))
            await asyncio.sleep(every_s)

    async def answer(self) -> tuple[int, bytes]:
        """Status and body of the next answer."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        return int(head.split()[1]), await self.reader.readexactly(length)

    async def close(self) -> None:
        self.writer.transport.abort()


@pytest.mark.parametrize("sent", [b"", b"PO", HEAD], ids=["nothing", "a little", "no end"])
async def test_a_head_that_does_not_come_is_not_waited_for(
    gateway: RunningGateway, sent: bytes
) -> None:
    """The client is told, and the connection is free."""
    client = await Client.to(gateway)
    client.send(sent)
    status, body = await client.answer()
    assert (status, json.loads(body)) == (408, {"error": "head: not sent in time"})
    assert await client.reader.read() == b""
    await client.close()


async def test_a_head_that_comes_drop_by_drop_has_no_more_time(gateway: RunningGateway) -> None:
    """The time is that of the whole head: each byte does not begin it again."""
    client = await Client.to(gateway)
    dripping = asyncio.create_task(client.trickle(HEAD * 100, BOUND_S / 20))
    assert (await client.answer())[0] == 408
    dripping.cancel()
    await client.close()


async def test_the_head_of_a_later_request_is_bounded_too(gateway: RunningGateway) -> None:
    """A connection that has been served once gets no credit for it."""
    client = await Client.to(gateway)
    client.send(PING)
    assert (await client.answer())[0] == 200
    client.send(PING[:9])
    assert (await client.answer())[0] == 408
    await client.close()


async def test_a_body_that_does_not_come_is_not_waited_for(gateway: RunningGateway) -> None:
    """Its handler ends with it; nothing was accepted."""
    client = await Client.to(gateway)
    client.send(HEAD + b"\r\n" + BODY[:-1])
    status, body = await client.answer()
    assert (status, json.loads(body)) == (408, {"error": "body: not sent in time"})
    await client.close()
    server = gateway._runner.connections
    await wait_until(lambda: not server.connections)
    assert gateway.waiting == 0


async def test_an_open_connection_may_rest(gateway: RunningGateway) -> None:
    """Between two requests, and while its request runs."""
    impatient = gateway._runner.connections.bounds
    be_patient(gateway)
    client = await Client.to(gateway)
    client.send(PING)
    assert (await client.answer())[0] == 200
    client.send(HEAD + b"\r\n")
    await asyncio.sleep(BOUND_S / 4)  # the body comes in a piece of its own
    client.send(BODY)
    await wait_until(lambda: gateway.waiting == 1)
    gateway._runner.connections.bounds = impatient
    other = await Client.to(gateway)
    other.send(PING)
    assert (await other.answer())[0] == 200
    await asyncio.sleep(3 * BOUND_S)
    other.send(PING)
    assert (await other.answer())[0] == 200
    assert gateway.waiting == 1 and not client.reader.at_eof()
    await client.close()
    await other.close()
    await wait_until(lambda: gateway.waiting == 0)


async def test_a_client_that_does_not_read_is_cut_off(
    cell: Cell, gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When its share of time is over, however much of its answer is left to write."""
    monkeypatch.setattr(connection_limits, "SLOWEST_BYTES_S", 1 << 40)
    epoch = await cell.worker("w1", holds=[await gateway.ref()])
    body = json.dumps({"inputs": [TENSOR], "parameters": {"binary_data_output": True}}).encode()
    client = await Client.to(gateway)
    client.writer.transport.pause_reading()
    client.send(HEAD.replace(b"%d" % len(BODY), b"%d" % len(body)) + b"\r\n" + body)
    await wait_until(lambda: gateway.waiting == 1)
    large = Outcome([tensor(np.zeros((4 << 20, 1), "<f4"), "y")])
    owed, end = list[str](), Connection._end

    def noted(connection: Connection, transport: asyncio.Transport, what: str, size: int) -> None:
        owed.append(what)
        end(connection, transport, what, size)

    monkeypatch.setattr(Connection, "_end", noted)
    await answer_all(cell, epoch, pack(large))
    server = gateway._runner.connections
    await wait_until(lambda: not server.connections)
    assert owed == [connection_limits.ANSWER] and gateway.waiting == 0
    await client.close()


async def test_a_client_that_reads_slowly_has_time_for_what_there_is() -> None:
    """The more, the longer."""
    bounds = connection_limits.Bounds(header_s=1, body_s=2, connections=1)
    allowed = connection_limits._allowed_s
    assert allowed(connection_limits.ANSWER, 0, bounds) == 2
    assert allowed(connection_limits.ANSWER, 10 * connection_limits.SLOWEST_BYTES_S, bounds) == 12
    assert allowed(connection_limits.NOTHING, 0, bounds) == float("inf")


async def test_too_many_connections_are_refused(
    gateway: RunningGateway, caplog: pytest.LogCaptureFixture
) -> None:
    """With 503; those that are open are served, and there is room again when one has gone."""
    be_patient(gateway)
    clients = [await Client.to(gateway) for _ in range(MOST)]
    for client in clients:
        client.send(PING)
        assert (await client.answer())[0] == 200
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            extra = await Client.to(gateway)
            status, body = await extra.answer()
            assert (status, json.loads(body)) == (503, {"error": connection_limits.TOO_MANY})
            await extra.close()
        await wait_until(lambda: "connections refused" in caplog.text)
    assert caplog.text.count("connections refused") == 1
    clients[0].send(PING)
    assert (await clients[0].answer())[0] == 200
    await clients[1].close()

    async def room() -> bool:
        client = await Client.to(gateway)
        client.send(PING)
        status, _ = await client.answer()
        await client.close()
        return status == 200

    await wait_until(room)
    for client in clients:
        await client.close()


def test_open_files_bound_the_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some are kept for Redis and the repository; at least one connection is allowed."""
    limits = {(1024, 4096): 976, (64, 64): 16, (20, 20): 1, (20_000, 20_000): 10_000}
    for limit, allowed in limits.items():
        monkeypatch.setattr(resource, "getrlimit", lambda _, limit=limit: limit)
        assert server.connections_allowed(10_000) == allowed


@pytest.mark.parametrize(
    ("before", "after"),
    [((1024, 4096), 4096), ((1024, 1 << 20), 10_048), ((1 << 20, 1 << 20), None)],
)
def test_the_limit_of_open_files_is_raised_as_far_as_it_may(
    monkeypatch: pytest.MonkeyPatch, before: tuple[int, int], after: int | None
) -> None:
    """To what the connections need, never down."""
    made: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: before)
    monkeypatch.setattr(resource, "setrlimit", lambda _, limit: made.append(limit))
    server.raise_limit(10_000)
    assert made == ([] if after is None else [(after, before[1])])
