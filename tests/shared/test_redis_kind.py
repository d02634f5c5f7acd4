"""A server that a cell cannot live on is named when a process starts, with what would do."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis.exceptions
from redis.asyncio import Redis

from deploy.local.redis_server import find_redis_server, start_redis
from shared.connection import open_redis
from shared.errors import ConfigError
from shared.keys import Keys
from shared.redis_kind import check_kind, refusal
from tests.helpers.cell import Cell
from tests.helpers.wait import wait_until


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
    "Redis Cluster": [
        Says(cluster_enabled=1), Says(redis_mode="cluster"),
        Says("ERR Script attempted to access a non local key in a cluster node", role="master"),
        Says("MOVED 5798 10.0.0.1:6379", role="master"),
    ],
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
            await check_kind(client, Keys("c"))  # type: ignore[arg-type]
        assert "a cell works on one primary" in raised.value.message


@pytest.mark.parametrize(
    "error", ["MISCONF Errors writing to the AOF file", "LOADING Redis is loading", "BUSY a script"]
)
async def test_what_will_pass_is_no_wrong_server(error: str) -> None:
    """Other checks and calls speak of it."""
    await check_kind(Says(error, role="master"), Keys("c"))  # type: ignore[arg-type]
    assert refusal(redis.exceptions.ResponseError(error)) == ""


async def test_a_usual_server_passes_and_keeps_nothing(cell: Cell) -> None:
    await check_kind(cell.client, cell.keys)
    assert [key async for key in cell.client.scan_iter(cell.keys.prefix + "*")] == []


async def test_a_real_node_of_a_cluster_is_refused(cell: Cell, tmp_path: Path) -> None:
    """By what it says of itself; nothing has to be moved for that."""
    port = free_port()
    command = (
        find_redis_server(), "--port", port, "--cluster-enabled", "yes", "--dir", tmp_path,
        "--bind", "127.0.0.1", "--save", "",
    )  # fmt: skip
    node = await asyncio.create_subprocess_exec(
        *(str(word) for word in command), stdout=asyncio.subprocess.DEVNULL
    )
    client = open_redis(f"redis://127.0.0.1:{port}")
    try:
        await wait_until(lambda: answers(client), 20)
        with pytest.raises(ConfigError, match="Redis Cluster"):
            await check_kind(client, cell.keys)
    finally:
        await client.aclose()
        node.kill()
        await node.wait()


async def test_a_real_replica_is_refused(cell: Cell, tmp_path: Path) -> None:
    """It takes no writes, whatever else it answers."""
    server = await asyncio.to_thread(start_redis, tmp_path, appendonly=False)
    client = open_redis(server.url)
    try:
        where = urlsplit(cell.url)
        await client.execute_command("REPLICAOF", where.hostname, where.port)
        with pytest.raises(ConfigError, match="name the primary"):
            await check_kind(client, cell.keys)
    finally:
        await client.aclose()
        await asyncio.to_thread(server.stop)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


async def answers(client: Redis) -> bool:
    try:
        return bool(await client.ping())
    except redis.exceptions.RedisError:
        return False
