"""Failover: the address of Redis leads to another server, which was a replica of the first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from deploy.local.redis_server import RedisServer, start_redis
from tests.helpers.cell import Cell, open_cell
from tests.helpers.faulty import Faulty, add_user, faulty_gateway, says
from tests.helpers.wait import wait_until


@pytest.fixture
async def faulty(
    own_redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Faulty]:
    """A gateway that is served by the first server."""
    async with faulty_gateway(own_redis.url, tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
async def replica(faulty: Faulty, tmp_path: Path) -> AsyncIterator[Cell]:
    """The same cell on a replica of that server."""
    server = start_redis(tmp_path / "replica", appendonly=False)
    other = open_cell(server.url, faulty.cell.name)
    await add_user(other)
    await follow(other, faulty.cell)
    try:
        yield other
    finally:
        await other.close()
        server.stop()


async def follow(replica: Cell, primary: Cell) -> None:
    where = urlsplit(primary.url)
    await replica.client.replicaof(where.hostname, where.port)
    await wait_until(lambda: in_step(replica, primary))


async def in_step(replica: Cell, primary: Cell) -> bool:
    """Whether the replica has all that the primary has."""
    there, here = [await cell.client.info("replication") for cell in (replica, primary)]
    up = there.get("master_link_status") == "up"
    return up and there["slave_repl_offset"] == here["master_repl_offset"]


@asynccontextmanager
async def accepted_before(faulty: Faulty, replica: Cell) -> AsyncIterator[None]:
    """A request that was accepted before the block (and copied) has its answer after it."""
    _, headers, _ = await faulty.gateway.infer(Prefer="respond-async")
    await wait_until(lambda: in_step(replica, faulty.cell))
    yield
    status, _, document = await faulty.gateway.get(headers["Location"])
    assert (status, document["status"]) == (200, "succeeded")


async def test_a_failover_needs_no_restart(faulty: Faulty, replica: Cell) -> None:
    """The primary dies: 503 while its replica takes no writes, then all goes on there."""
    async with accepted_before(faulty, replica):
        faulty.proxy.lead_to(replica.url)
        await faulty.cell.client.shutdown(nosave=True)
        await wait_until(lambda: says(faulty.gateway, "READONLY"))
        await faulty.refused("READONLY, it is a replica")
        await replica.client.replicaof("NO", "ONE")
        faulty.cell = replica
        await faulty.healed()


async def test_an_old_primary_that_became_a_replica_is_left(faulty: Faulty, replica: Cell) -> None:
    """No connection breaks: READONLY itself is the reason to look where the address leads now."""
    async with accepted_before(faulty, replica):
        connections = faulty.proxy.accepted
        faulty.proxy.lead_to(replica.url, cut=False)
        await replica.client.replicaof("NO", "ONE")
        old, faulty.cell = faulty.cell, replica
        await follow(old, replica)
        await faulty.healed()
        assert (await old.client.info("replication"))["role"] == "slave"
        assert faulty.proxy.accepted > connections
