"""A gateway before a Redis that fails in every way it can: 503 meanwhile, and it heals by itself.

The gateway runs in this process and talks to its Redis through a proxy; the test plays the worker.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis.exceptions

from deploy.local.redis_server import RedisServer
from tests.helpers.cell import Cell, open_cell
from tests.helpers.faulty import USER, Faulty, faulty_gateway, says
from tests.helpers.gateway import answer_all
from tests.helpers.wait import wait_until


@pytest.fixture
async def faulty(
    own_redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Faulty]:
    """One that is served."""
    async with faulty_gateway(own_redis.url, tmp_path, monkeypatch) as made:
        yield made


async def connected(cell: Cell) -> int:
    return int((await cell.client.info("clients"))["connected_clients"])


async def is_busy(cell: Cell) -> bool:
    try:
        await cell.client.ping()
    except redis.exceptions.ResponseError as error:
        return "BUSY" in str(error)
    return False


async def test_a_black_hole_is_503_in_time_and_not_a_hang(faulty: Faulty) -> None:
    """Nothing comes back from Redis, and no connection breaks; afterwards none is left over."""
    before = await connected(faulty.cell)
    faulty.be_impatient()
    faulty.proxy.swallow()
    async with asyncio.timeout(20):
        await faulty.refused("Redis")
        assert "Redis" in await faulty.not_ready()
    assert faulty.proxy.lost > 0
    faulty.proxy.swallow(False)
    await faulty.healed()
    await wait_until(lambda: _at_most(faulty.cell, before))


async def _at_most(cell: Cell, count: int) -> bool:
    return await connected(cell) <= count


async def test_answers_that_get_lost_are_told_from_requests_that_do(faulty: Faulty) -> None:
    """Only the way back is broken: what was placed may run, and its caller hears that."""
    faulty.be_impatient()
    faulty.proxy.black_hole_back = True
    async with asyncio.timeout(20):
        status, headers, _ = await faulty.gateway.infer()
    assert status == 503 and headers["Retry-After"]
    faulty.proxy.black_hole_back = False
    await faulty.healed()


async def test_many_who_wait_do_not_wait_one_after_the_other(faulty: Faulty) -> None:
    """Two hundred callers hear of a dead Redis in the time of a few."""
    faulty.be_impatient()
    faulty.proxy.swallow()
    async with asyncio.timeout(20):
        answers = await asyncio.gather(*(faulty.gateway.infer() for _ in range(200)))
    assert {status for status, _, _ in answers} == {503}
    faulty.proxy.swallow(False)
    await faulty.healed()


async def test_a_server_that_nobody_answers_at_is_503_at_once(faulty: Faulty) -> None:
    """Connections are refused, old ones are cut; many tries make no flood of connections."""
    faulty.proxy.refusing = True
    faulty.proxy.cut()
    tried = faulty.proxy.accepted
    for _ in range(50):
        assert (await faulty.gateway.infer())[0] == 503
    await faulty.not_ready()
    assert faulty.proxy.accepted - tried < 100
    faulty.proxy.refusing = False
    await faulty.healed()


async def test_a_user_that_was_switched_off_is_told_of_and_comes_back(
    faulty: Faulty, caplog: pytest.LogCaptureFixture
) -> None:
    """A clear word, no flood in the log, and nothing to restart when it is on again."""
    client = faulty.cell.client
    with caplog.at_level(logging.INFO):
        await client.acl_setuser(USER, enabled=False)
        await client.execute_command("CLIENT", "KILL", "USER", USER)
        await wait_until(lambda: says(faulty.gateway, "WRONGPASS"))
        await faulty.refused("WRONGPASS, its user or password is wrong")
        assert "WRONGPASS" in await faulty.not_ready()
        await asyncio.sleep(2)
    assert len(caplog.records) < 60
    await client.acl_setuser(USER, enabled=True)
    await faulty.healed()


async def test_missing_replicas_are_503(faulty: Faulty) -> None:
    """With `min-replicas-to-write` Redis takes no writes without them: nothing is accepted."""
    await faulty.config(min_replicas_to_write=1)
    await faulty.refused("NOREPLICAS, too few replicas follow it")
    await faulty.config(min_replicas_to_write=0)
    await faulty.healed()


async def test_full_memory_is_503_for_new_work_while_running_work_completes(
    faulty: Faulty,
) -> None:
    """What was accepted before is answered; with room again all goes on."""
    call = asyncio.create_task(faulty.gateway.infer())
    await wait_until(lambda: faulty.gateway.waiting == 1)
    await faulty.config(maxmemory=1)
    await faulty.refused("memory")
    await answer_all(faulty.cell, faulty.epoch)
    assert (await call)[0] == 200
    await faulty.config(maxmemory=0)
    await faulty.healed()


async def test_a_disk_that_cannot_be_written_is_503(faulty: Faulty) -> None:
    """MISCONF: Redis refuses writes, and even PING."""
    folder = await faulty.cell.client.config_get("dir")
    blocker = Path(folder["dir"] if "dir" in folder else folder[b"dir"].decode()) / "dump.rdb"
    (blocker / "in the way").mkdir(parents=True)
    await faulty.config(save="3600 1", stop_writes_on_bgsave_error="yes")
    await faulty.cell.client.bgsave()
    await wait_until(lambda: _saved(faulty.cell, "err"))
    await faulty.refused("MISCONF, it cannot write to its disk")
    assert "MISCONF" in await faulty.not_ready()
    (blocker / "in the way").rmdir()
    blocker.rmdir()
    await faulty.cell.client.bgsave()
    await wait_until(lambda: _saved(faulty.cell, "ok"))
    await faulty.healed()


async def _saved(cell: Cell, how: str) -> bool:
    info = await cell.client.info("persistence")
    return not info["rdb_bgsave_in_progress"] and info["rdb_last_bgsave_status"] == how


async def test_a_script_that_blocks_redis_is_503(faulty: Faulty) -> None:
    """BUSY is treated as down; when the script is killed all goes on."""
    await faulty.config(lua_time_limit=20)
    other = open_cell(faulty.cell.url, "other")
    blocking = asyncio.create_task(other.channel.execute_command("EVAL", "while true do end", 0))
    await wait_until(lambda: is_busy(faulty.cell))  # a request before it would be placed and wait
    await wait_until(lambda: says(faulty.gateway, "BUSY"))
    await faulty.refused("BUSY, a script blocks it")
    await faulty.cell.client.script_kill()
    assert isinstance((await asyncio.gather(blocking, return_exceptions=True))[0], Exception)
    await other.close()
    await faulty.healed()


async def test_lost_scripts_are_sent_again(faulty: Faulty) -> None:
    """Nobody notices."""
    for _ in range(3):
        await faulty.cell.client.script_flush()
        assert await faulty.served()


async def test_too_many_clients_of_redis_are_told_of(faulty: Faulty) -> None:
    """Those of this gateway cannot come back until there is room."""
    await faulty.config(maxclients=1)
    faulty.proxy.cut()
    await faulty.refused("Redis")
    assert "Redis" in await faulty.not_ready()
    assert (await faulty.cell.client.info("stats"))["rejected_connections"] > 0
    await faulty.config(maxclients=1000)
    await faulty.healed()


async def test_who_waits_for_a_cold_model_is_told_what_redis_refuses(faulty: Faulty) -> None:
    """The request was parked before: its 504 says why nothing more is known of it."""
    await faulty.cell.client.delete(
        faulty.cell.keys.holders(await faulty.gateway.ref()), faulty.cell.keys.holds("w1")
    )
    call = asyncio.create_task(faulty.gateway.infer(**{"Warmroute-Timeout": "3"}))
    await wait_until(lambda: faulty.gateway.waiting == 1)
    await faulty.config(maxclients=1)
    faulty.proxy.cut()
    status, _, document = await call
    assert status == 504
    assert "MAXCLIENTS, it has as many connections as it takes" in document["error"], document
    await faulty.config(maxclients=1000)


async def test_a_far_redis_is_slow_and_right(faulty: Faulty) -> None:
    """With some 50 ms on each way requests share round trips, and all are answered."""
    faulty.proxy.latency_s, faulty.proxy.jitter_s = 0.05, 0.025
    calls = [asyncio.create_task(faulty.gateway.infer()) for _ in range(100)]
    await wait_until(lambda: faulty.gateway.waiting == 100)
    await answer_all(faulty.cell, faulty.epoch)
    answers = await asyncio.gather(*calls)
    assert {status for status, _, _ in answers} == {200}
    faulty.proxy.latency_s = faulty.proxy.jitter_s = 0.0
    await faulty.healed()
