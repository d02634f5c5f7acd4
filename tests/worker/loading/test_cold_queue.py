"""The cold queue: RQ runs what place.lua wrote, one worker loads, and the thread lives on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest
import redis.exceptions
import rq.worker.base

from deploy.local.redis_server import RedisServer
from shared.connection import COMMAND_TIMEOUT_S
from shared.errors import ConfigError, Unavailable
from shared.keys import Keys
from tests.conftest import RQ_CELL
from tests.helpers.cell import LEASE_MS, Cell, open_cell
from tests.helpers.factories import OTHER_REF, REF, placing
from tests.helpers.wait import wait_until
from worker.loading import rq_worker
from worker.loading.orders import ColdQueue
from worker.loading.rq_worker import LONGEST_WAIT_S


class Worker:
    """A worker as the cold queue sees it: it claims what it is invited to, and notes the claims."""

    def __init__(self, cell: Cell, name: str) -> None:
        self.cell = cell
        self.name = name
        self.epoch = ""
        self.claims: list[tuple[str, str, str]] = []
        self.open = True
        self.error: Exception | None = None
        loop = asyncio.get_running_loop()
        self.queue = ColdQueue(cell.url, cell.keys, name, self.accept, lambda: self.open, loop)

    async def start(self) -> None:
        self.epoch = await self.cell.worker(self.name)
        self.queue.start()

    async def accept(self, ref: str, token: str) -> str:
        error, self.error = self.error, None
        if error is not None:
            self.claims.append((ref, token, "error"))
            raise error
        claim = await self.cell.scripts.claim_load(self.name, self.epoch, ref, token, LEASE_MS)
        self.claims.append((ref, token, claim))
        return claim


@pytest.fixture
async def make_worker(rq_cell: Cell) -> AsyncIterator[Callable[[str], Worker]]:
    """Makes workers of a cell that RQ sees; stops them."""
    made: list[Worker] = []

    def make(name: str = "w1") -> Worker:
        made.append(Worker(rq_cell, name))
        return made[-1]

    yield make
    started = [worker.queue for worker in made if worker.epoch]
    await asyncio.gather(*(queue.stop() for queue in started))
    assert not any(queue._thread.is_alive() for queue in started)


async def test_rq_runs_what_the_script_wrote(rq_cell: Cell, make_worker) -> None:
    """The worker is invited with model and token, claims the load, and the job is finished."""
    worker = make_worker()
    await rq_cell.place(placing())
    (order,), token = await rq_cell.orders(), await rq_cell.token()
    await worker.start()
    await wait_until(lambda: worker.claims)
    assert worker.claims == [(REF, token, "claimed")]
    job = rq_cell.keys.rq_job(order)

    async def finished() -> bool:
        return await rq_cell.client.hget(job, "status") == b"finished"

    await wait_until(finished)
    assert await rq_cell.orders() == []
    assert await rq_cell.client.ttl(job) > 0


async def test_while_the_gate_is_shut_no_order_is_taken(rq_cell: Cell, make_worker) -> None:
    """It stays for a worker that has room; when the gate opens it is taken."""
    full, free = make_worker("full"), make_worker("free")
    full.open = False
    await full.start()
    await rq_cell.place(placing())
    await asyncio.sleep(0.1)
    assert len(await rq_cell.orders()) == 1
    await free.start()
    await wait_until(lambda: free.claims)
    assert full.claims == []
    await free.queue.stop()
    full.open = True
    await rq_cell.place(placing(ref=OTHER_REF))
    await wait_until(lambda: full.claims)


async def test_of_several_workers_one_loads(rq_cell: Cell, make_worker) -> None:
    """Also if the same invitation comes twice, or late."""
    workers = [make_worker(f"w{n}") for n in range(3)]
    await asyncio.gather(*(worker.start() for worker in workers))
    await rq_cell.place(placing())
    token = await rq_cell.token()

    def claims() -> list[str]:
        return [claim for worker in workers for _, _, claim in worker.claims]

    await wait_until(claims)
    key = rq_cell.keys.rq_job("load-again")
    call = json.dumps(["warmroute.load", None, [REF, token], {}])
    fields = {
        "data": call,
        "origin": "cold",
        "status": "queued",
        "created_at": "2026-01-01T00:00:00Z",
    }
    await rq_cell.client.hset(key, mapping=fields | {"result_ttl": 120, "failure_ttl": 600})
    await rq_cell.client.expire(key, 60)
    for _ in range(2):
        await rq_cell.client.rpush(rq_cell.keys.rq_queue(), "load-again")
    await wait_until(lambda: len(claims()) == 3)
    assert sorted(claims()) == ["claimed", "stale", "stale"]


async def test_a_claim_that_fails_fails_its_order_only(rq_cell: Cell, make_worker) -> None:
    """Redis did not answer in that moment: the next order is taken."""
    worker = make_worker()
    worker.error = Unavailable("Redis does not answer")
    await worker.start()
    await rq_cell.place(placing())
    await wait_until(lambda: worker.claims)
    await rq_cell.place(placing(ref=OTHER_REF))
    await wait_until(lambda: len(worker.claims) == 2)
    assert [claim for _, _, claim in worker.claims] == ["error", "claimed"]


async def test_nobody_can_stop_the_worker_through_redis(rq_cell: Cell, make_worker) -> None:
    """RQ's shutdown command is not listened to; lost connections are opened again."""
    worker = make_worker()
    await worker.start()
    await rq_cell.client.publish(f"{rq_cell.keys.rq_prefix}:pubsub:w1", '{"command": "shutdown"}')
    await rq_cell.client.client_kill_filter(_type="normal", skipme=True)
    with suppress(redis.exceptions.ConnectionError):  # ours was killed too
        await rq_cell.channel.execute_command("PING")
    await rq_cell.place(placing())
    await wait_until(lambda: worker.claims)
    assert worker.queue._thread.is_alive()


async def test_when_redis_has_no_room_the_thread_goes_on_afterwards(
    own_redis: RedisServer,
) -> None:
    """RQ's own loop ends for good then; it is begun again."""
    cell = open_cell(own_redis.url, RQ_CELL)
    worker = Worker(cell, "w1")
    await worker.start()
    await cell.place(placing())
    await wait_until(lambda: worker.claims)
    await cell.client.config_set("maxmemory", 1)

    async def refused_often() -> bool:  # its goodbye too, so that its name is left behind
        errors = await cell.client.info("errorstats")
        return errors.get("errorstat_OOM", {}).get("count", 0) > 5

    await wait_until(refused_often)
    await cell.client.config_set("maxmemory", 0)
    await cell.place(placing(ref=OTHER_REF))
    await wait_until(lambda: len(worker.claims) == 2)
    await worker.queue.stop()
    await cell.close()


async def test_a_long_outage_does_not_make_the_next_tries_rarer(
    rq_cell: Cell, make_worker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """RQ by itself waits up to a minute, and the first cold model as long after Redis is back. A
    line in the log tells of the outage."""
    waits: list[float] = []
    monkeypatch.setattr(rq.worker.base.time, "sleep", waits.append)
    built = built_worker(rq_cell, make_worker())
    beat, tries = built.heartbeat, iter(range(20))

    def heartbeat(*args: object) -> None:
        if next(tries, None) is not None:
            raise redis.exceptions.ConnectionError("away")
        beat(*args)

    monkeypatch.setattr(built, "heartbeat", heartbeat)
    await asyncio.to_thread(built.dequeue_job_and_maintain_ttl, 1)
    assert len(waits) == 20 and max(waits) <= LONGEST_WAIT_S
    assert sum("could not connect" in line for line in caplog.messages) == 1
    built.connection.close()


async def test_when_rqs_loop_ends_again_and_again_it_is_begun_as_often(
    make_worker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A loss of the connection between two reads ends it."""
    queue, waits = make_worker().queue, []

    def lost() -> None:
        raise redis.exceptions.ConnectionError("away")

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 20:
            queue._stopping.set()

    monkeypatch.setattr(queue, "_work", lost)
    monkeypatch.setattr(queue._stopping, "wait", wait)
    await asyncio.to_thread(queue._supervise)
    assert max(waits) <= LONGEST_WAIT_S
    assert 1 <= len(caplog.messages) <= 6


def built_worker(cell: Cell, worker: Worker) -> rq_worker.ColdWorker:
    """RQ's worker, whose gate opens once."""
    gate = iter([True, False])
    client = redis.Redis.from_url(cell.url)
    return rq_worker.build_worker(client, "w2", worker.queue._claim, lambda: next(gate))


async def test_a_connection_that_fell_silent_is_given_up_soon(rq_cell: Cell, make_worker) -> None:
    """As soon as those of all other clients: RQ by itself waits twice as long."""
    built = built_worker(rq_cell, make_worker())
    timeout = built.connection.connection_pool.connection_kwargs["socket_timeout"]
    assert rq_worker.READ_S < timeout <= rq_worker.READ_S + COMMAND_TIMEOUT_S
    built.connection.close()


async def test_another_cells_prefix_is_a_wrong_setting(rq_cell: Cell) -> None:
    """RQ has read its prefix already: the worker must not look into another cell's queue."""
    loop = asyncio.get_running_loop()
    with pytest.raises(ConfigError, match="RQ_KEY_PREFIX"):
        ColdQueue(rq_cell.url, Keys("elsewhere"), "w1", None, lambda: True, loop)
