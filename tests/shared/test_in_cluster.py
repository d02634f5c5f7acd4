"""Connections to cells in a real Redis Cluster: at their nodes, wherever the slots go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import hiredis
import pytest

from deploy.local.redis_server import RedisServer
from shared import redis_start
from shared.channel import Channel
from shared.connection import open_redis, redis_errors
from shared.errors import ConfigError, Unavailable
from shared.keys import Keys
from shared.location import location_of
from shared.redis_check import check_redis
from shared.redis_kind import check_kind
from shared.slots import slot_of
from tests.contract.sources import ROOT
from tests.helpers.cell import Cell, open_cell
from tests.helpers.factories import kept
from tests.helpers.redis_cluster import RedisCluster, redis_cluster
from tests.helpers.wait import wait_until


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """Two primaries, and a replica of the first one."""
    with redis_cluster(tmp_path_factory.mktemp("cluster"), primaries=2, replicas=1) as made:
        yield made


@asynccontextmanager
async def cell_of(nodes: RedisCluster, at: int, url: str = "") -> AsyncIterator[Cell]:
    """A new cell on that primary, as a process uses it that has checked its Redis."""
    cell = open_cell(url or nodes.url, nodes.cell_at(at))
    try:
        await check_kind(cell.client, cell.keys, cell.url)
        yield cell
    finally:
        await cell.close()


async def test_each_cell_is_used_at_its_own_node(nodes: RedisCluster) -> None:
    """Also what names no key; whichever node is named."""
    for at in (0, 1):
        for named in nodes.nodes:
            async with cell_of(nodes, at, named.url) as cell:
                port = nodes.admins[at].connection_pool.connection_kwargs["port"]
                assert (await cell.client.info("server"))["tcp_port"] == port
                said = await cell.channel.execute_command("INFO", "server")
                assert b"tcp_port:%d\r" % port in said
                assert (await cell.place(kept(id="r1")))[0].status
                assert await cell.client.exists(cell.keys.request("r1"))
                await check_redis(cell.client, cell.url, cell=cell.name)


async def test_a_blocked_reader_follows(nodes: RedisCluster) -> None:
    async with cell_of(nodes, 0) as cell:
        stream = cell.keys.replies("gw1")
        read = ("XREAD", "BLOCK", 10_000, "STREAMS", stream, "0")
        await cell.channel.execute_command("XADD", stream, "1-1", "a", "b")
        waiting = asyncio.create_task(
            cell.channel.execute_command("XREAD", "BLOCK", 10_000, "STREAMS", stream, "1-1")
        )
        await wait_until(lambda: nodes.admins[0].info("clients")["blocked_clients"])
        nodes.begin_move(cell.name, 0, 1)
        nodes.move_keys(cell.name, 0, 1)
        nodes.end_move(cell.name, 0, 1)
        with pytest.raises(Unavailable), redis_errors():
            assert await waiting is None  # where Redis does not end the read for the move
            await cell.channel.execute_command(*read)
        assert len(await cell.channel.execute_command(*read)) == 1


async def test_a_failover_is_followed_although_the_named_node_is_gone(
    tmp_path: Path,
) -> None:
    """The nodes are known from the start."""
    with redis_cluster(tmp_path, primaries=1, replicas=1) as nodes:
        async with cell_of(nodes, 0) as cell:
            await cell.place(kept(id="r1"))
            await cell.client.wait(1, 5000)
            nodes.nodes[0].child.kill()
            nodes.fail_over(0, "TAKEOVER")

            async def works() -> bool:
                try:
                    return bool(await cell.client.exists(cell.keys.request("r1")))
                except Exception:
                    return False

            await wait_until(works)
            await wait_until(lambda: placed(cell))


def documented_rules(cell: str) -> list[str]:
    """The rules of a user of one cell, as operators read them."""
    page = (ROOT / "deploy" / "docs" / "operations.md").read_text()
    line = next(row for row in page.splitlines() if row.startswith("ACL SETUSER"))
    return [word.strip("'").replace("{warmroute}", f"{{{cell}}}") for word in line.split()[3:]]


async def placed(cell: Cell) -> bool:
    try:
        return bool(await cell.place(kept(id="r2")))
    except Unavailable:
        return False


async def test_other_databases_are_refused(nodes: RedisCluster) -> None:
    url = nodes.url.replace("/0", "/3")
    client = open_redis(url, "c")
    with pytest.raises(ConfigError, match="no database but 0"):
        await check_kind(client, Keys("c"), url)
    await client.aclose()


@pytest.mark.parametrize("lists", [True, False])
async def test_a_user_limited_to_the_cell_follows_it(nodes: RedisCluster, lists: bool) -> None:
    """Also one who may not list the nodes, and so knows none but those that the cluster named."""
    name = nodes.cell_at(1)
    for admin in nodes.admins:
        more = ["+cluster|slots"] if lists else []
        admin.execute_command("ACL", "SETUSER", "limited", *documented_rules(name), *more)
    url = nodes.url.replace("redis://", "redis://limited:PASSWORD@")
    cell = open_cell(url, name)
    await check_kind(cell.client, cell.keys, url)
    assert (await cell.place(kept(id="r1")))[0].status
    assert bool(location_of(url, name)._nodes) == lists
    for admin in nodes.admins:
        admin.execute_command("ACL", "DELUSER", "limited")
    await cell.close()


async def test_the_key_of_the_cell_itself_must_be_free(nodes: RedisCluster) -> None:
    """It is what holds back scripts while a slot moves."""
    name = nodes.cell_at(1)
    nodes.admins[1].set(Keys(name).prefix, "x")
    client = open_redis(nodes.url, name)
    with pytest.raises(ConfigError, match="must be free"):
        await check_kind(client, Keys(name), nodes.url)
    await client.aclose()


async def test_a_redis_alone_is_asked_nothing_more(own_redis: RedisServer) -> None:
    """Beside the check at the start, a connection that follows costs what another one does."""
    channel, client = Channel(own_redis.url, "c"), open_redis(own_redis.url, "c")
    await check_kind(client, Keys("c"), own_redis.url)
    await client.config_resetstat()
    await channel.execute_command("PING")
    await client.ping()
    stats = await client.info("commandstats")
    assert {name.partition("|")[0] for name in stats} == {"cmdstat_ping", "cmdstat_config"}
    await channel.aclose()
    await client.aclose()


async def test_a_node_at_an_address_that_cannot_be_reached_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As one in a container that announces its own address."""
    monkeypatch.setattr(redis_start, "TRY_S", 0.3)
    slot = slot_of(Keys("c").prefix)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parser: Any = hiredis.Reader()
        while data := await reader.read(4096):
            parser.feed(data)
            while (command := parser.gets()) is not False:
                is_info = command[0].upper() == b"INFO"
                moved = b"-MOVED %d 127.0.0.1:1\r\n" % slot
                writer.write(b"$17\r\ncluster_enabled:1\r\n" if is_info else moved)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    client = open_redis(url, "c")
    await check_kind(client, Keys("c"), url)
    with pytest.raises(ConfigError, match=f"names 127.0.0.1:1 as the node of slot {slot}"):
        await check_redis(client, url, cell="c")
    assert location_of(url, "c").in_cluster
    await client.aclose()
    server.close()
