"""A server that a cell cannot live on is named when a process starts, with what would do."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis.exceptions

from deploy.local.redis_server import start_redis
from shared import redis_start
from shared.connection import open_redis
from shared.errors import ConfigError
from shared.keys import Keys
from shared.redis_kind import check_kind, refusal
from shared.redis_start import first_info
from tests.helpers.cell import Cell


class Says:
    """A server that says something of itself, and answers scripts with an error."""

    def __init__(self, error: str = "", **info: object) -> None:
        self._info, self._error = info, error

    async def info(self) -> dict[str, object]:
        if not self._info:
            raise redis.exceptions.ConnectionError("Connection closed by server.")
        return self._info

    async def execute_command(self, *args: object) -> object:
        if self._error:
            raise redis.exceptions.ResponseError(self._error)
        return 0


UNFIT = {
    "name one of the nodes": [
        Says("ERR Script attempted to access a non local key in a cluster node", role="master"),
        Says("CROSSSLOT Keys in request don't hash to the same slot", role="master"),
    ],
    "do not agree which": [Says("MOVED 5798 10.0.0.1:6379", role="master")],
    "no database but 0": [Says("ERR SELECT is not allowed in cluster mode")],
    "Sentinel": [Says(redis_mode="sentinel")],
    "name the primary": [
        Says("READONLY You can't write against a read only replica.", role="slave"),
        Says("ERR Error running script: @user_script:1: -READONLY You can't write", role="slave"),
    ],
    "Dragonfly": [Says("ERR Error: script tried accessing undeclared key", role="master")],
    "Twemproxy": [Says("ERR unknown command 'EVAL'"), Says("unknown command `EVAL`", role="x")],
    "operations.md": [
        Says("NOPERM this user has no permissions to run the 'eval' command", role="master")
    ],
}  # fmt: skip


@pytest.mark.parametrize("word", UNFIT)
async def test_a_server_that_will_not_do_is_named(word: str) -> None:
    """With what would do."""
    for client in UNFIT[word]:
        with pytest.raises(ConfigError, match=word) as raised:
            await check_kind(client, Keys("c"), "redis://x")  # type: ignore[arg-type]
        assert "a cell works on one primary" in raised.value.message


@pytest.mark.parametrize(
    "error", ["MISCONF Errors writing to the AOF file", "LOADING Redis is loading", "BUSY a script"]
)
async def test_what_will_pass_is_no_wrong_server(error: str) -> None:
    """Other checks and calls speak of it."""
    await check_kind(Says(error, role="master"), Keys("c"), "redis://x")  # type: ignore[arg-type]
    assert refusal(redis.exceptions.ResponseError(error)) == ""


async def test_a_usual_server_passes_and_keeps_nothing(cell: Cell) -> None:
    await check_kind(cell.client, cell.keys, cell.url)
    assert [key async for key in cell.client.scan_iter(cell.keys.prefix + "*")] == []


@pytest.mark.parametrize(
    ("url", "why"),
    [("redis://x/3", "no database but 0"), ("unix:///run/redis.sock", "by host and port")],
)
async def test_a_cluster_is_named_by_host_and_port(url: str, why: str) -> None:
    """It leads to other nodes."""
    with pytest.raises(ConfigError, match=why):
        await check_kind(Says(cluster_enabled=1), Keys("c"), url)  # type: ignore[arg-type]


async def test_a_real_node_without_slots_serves_no_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cluster may be about to be made; that is waited for as for any Redis."""
    monkeypatch.setattr(redis_start, "TRY_S", 0.3)
    node = await asyncio.to_thread(start_redis, tmp_path, appendonly=False, in_cluster=True)
    client = open_redis(node.url, "c")
    try:
        await check_kind(client, Keys("c"), node.url)
        with pytest.raises(ConfigError, match="CLUSTERDOWN, its cluster does not serve"):
            await first_info(client, node.url, "c")
    finally:
        await client.aclose()
        await asyncio.to_thread(node.stop)


async def test_a_real_replica_is_refused(cell: Cell, tmp_path: Path) -> None:
    """It takes no writes, whatever else it answers."""
    server = await asyncio.to_thread(start_redis, tmp_path, appendonly=False)
    client = open_redis(server.url)
    try:
        where = urlsplit(cell.url)
        await client.execute_command("REPLICAOF", where.hostname, where.port)
        with pytest.raises(ConfigError, match="name the primary"):
            await check_kind(client, cell.keys, server.url)
    finally:
        await client.aclose()
        await asyncio.to_thread(server.stop)
