"""The cold queue: a worker takes what the scripts wrote, between the beats of its heart."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import pytest
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer

from deploy.local.redis_server import RedisServer
from shared.config import WorkerConfig
from tests.conftest import RQ_CELL
from tests.helpers.cell import LEASE_MS, MAX_ATTEMPTS, Cell, open_cell
from tests.helpers.factories import OTHER_REF, REF, placing
from tests.helpers.proxy import Proxy
from tests.helpers.wait import block_until, wait_until
from worker.heartbeat import HeartbeatThread
from worker.loading.orders import Orders
from worker.membership import Membership
from worker.supervisor.progress import Progress


class Worker:
    """A worker that claims what it is invited to, and notes the claims."""

    def __init__(self, cell: Cell, name: str, url: str) -> None:
        self.cell, self.name = cell, name
        self.claims: list[tuple[str, str]] = []
        self.open, self.slow = True, asyncio.Event()
        self.slow.set()
        self.member = Membership(cell.scripts, name, LEASE_MS / 1000, MAX_ATTEMPTS, dict, dict)
        self.orders = Orders(
            cell.channel, cell.keys, name, lambda: self.open, self.accept, self.unload
        )
        config = WorkerConfig(redis_url=url, cell=cell.name, lease_s=LEASE_MS / 1000)
        self.heart = HeartbeatThread(config, self.member, Progress(), self.orders, lambda s: None)

    async def start(self) -> None:
        self.member.state = "ready"
        await self.member.register()
        self.heart.start()

    async def accept(self, ref: str, token: str) -> str:
        await self.slow.wait()
        claim = await self.cell.scripts.claim_load(
            self.name, self.member.epoch, ref, token, LEASE_MS
        )
        self.claims.append((ref, claim))
        return claim

    async def unload(self, ref: str) -> None:
        self.claims.append((ref, "unload"))


Make = Callable[..., Worker]


@pytest.fixture
async def make_worker(cell: Cell) -> AsyncIterator[Make]:
    """Makes workers; stops them."""
    made: list[Worker] = []

    def make(name: str = "w1", url: str = cell.url) -> Worker:
        made.append(Worker(cell, name, url))
        return made[-1]

    yield make
    started = [worker for worker in made if worker.member.epoch]
    await asyncio.gather(*(worker.heart.close() for worker in started))


async def order(cell: Cell, ref: str = REF) -> None:
    """As for a worker that was chosen and does not take it: only the cold queue has it."""
    token = ref.partition(":")[0]
    lease = {"token": token, "phase": "ordered", "worker": "", "since": 0, "extra": "requested"}
    call = json.dumps(["warmroute.load", None, [ref, token], {}])
    async with cell.client.pipeline() as pipe:
        pipe.hset(cell.keys.load(ref), mapping=lease)
        pipe.expire(cell.keys.load(ref), 60)
        pipe.hset(cell.keys.rq_job(token), "data", call)
        pipe.expire(cell.keys.rq_job(token), 60)
        pipe.rpush(cell.keys.rq_queue(), token)
        await pipe.execute()


async def test_an_order_of_either_list_is_taken(cell: Cell, make_worker: Make) -> None:
    """Soon, not with the next beat; an order to unload too."""
    worker = make_worker()
    await worker.start()
    await cell.place(placing())  # by name, as the only worker
    await wait_until(lambda: worker.claims == [(REF, "claimed")])
    await order(cell, OTHER_REF)
    await wait_until(lambda: worker.claims[1:] == [(OTHER_REF, "claimed")])
    await cell.client.rpush(cell.keys.orders("w1"), f"unload {REF}")
    await wait_until(lambda: worker.claims[2:] == [(REF, "unload")])
    assert await cell.orders() == []


async def test_while_a_worker_is_full_its_cold_orders_stay_for_others(
    cell: Cell, make_worker: Make
) -> None:
    """When it has room again it takes them."""
    full, free = make_worker("full"), make_worker("free")
    full.open = False
    await full.start()
    await order(cell)
    await asyncio.sleep(0.1)
    assert len(await cell.orders()) == 1
    await free.start()
    await wait_until(lambda: free.claims)
    assert full.claims == []
    await free.orders.close()  # else its last read may take the next order with it
    await free.heart.close()
    full.open = True
    await order(cell, OTHER_REF)
    await wait_until(lambda: full.claims)


async def test_of_several_workers_one_loads(cell: Cell, make_worker: Make) -> None:
    """Each order is popped once."""
    workers = [make_worker(f"w{n}") for n in range(3)]
    await asyncio.gather(*(worker.start() for worker in workers))
    for ref in (REF, OTHER_REF):
        await order(cell, ref)
    await wait_until(lambda: sum(len(worker.claims) for worker in workers) == 2)
    claims = [claim for worker in workers for claim in worker.claims]
    assert sorted(claims) == sorted([(REF, "claimed"), (OTHER_REF, "claimed")])


async def test_while_one_order_is_in_hand_no_other_is_taken(cell: Cell, make_worker: Make) -> None:
    """A loop that stands still takes one order with it, not all; its lease is renewed meanwhile."""
    worker = make_worker()
    worker.slow.clear()
    await worker.start()
    for ref in (REF, OTHER_REF):
        await order(cell, ref)

    async def one_taken() -> bool:
        return len(await cell.orders()) == 1

    await wait_until(one_taken)
    before = await cell.client.zscore(cell.keys.workers, "w1")

    async def renewed() -> bool:
        return await cell.client.zscore(cell.keys.workers, "w1") > before

    await wait_until(renewed)
    assert len(await cell.orders()) == 1
    worker.slow.set()
    await wait_until(lambda: len(worker.claims) == 2)


async def test_a_blocked_event_loop_keeps_the_lease_with_an_order_in_hand(
    cell: Cell, make_worker: Make
) -> None:
    """The beats go on."""
    worker = make_worker()
    await worker.start()
    await order(cell)
    with Redis.from_url(cell.url) as client:

        def expires() -> float:
            return float(client.zscore(cell.keys.workers, "w1"))

        before = expires()
        block_until(lambda: expires() > before)  # this loop stands still: that is what is tested
    await wait_until(lambda: worker.claims)


async def test_a_silent_connection_is_given_up_for_a_new_one(cell: Cell, make_worker: Make) -> None:
    """Orders go on with it; so after an outage."""
    async with Proxy.to(cell.url) as proxy:
        worker = make_worker(url=proxy.url)
        await worker.start()
        await wait_until(lambda: proxy.accepted == 1)
        proxy.silent = True
        await wait_until(lambda: proxy.accepted > 1)
        proxy.silent = False
        await order(cell)
        await wait_until(lambda: worker.claims)
        await worker.heart.close()


async def test_when_redis_has_no_room_orders_go_on_afterwards(own_redis: RedisServer) -> None:
    """A read takes no memory, and the lease is renewed."""
    cell = open_cell(own_redis.url, "full")
    worker = Worker(cell, "w1", own_redis.url)
    await worker.start()
    await cell.client.config_set("maxmemory", 1)
    before = await cell.client.zscore(cell.keys.workers, "w1")

    async def renewed() -> bool:
        return await cell.client.zscore(cell.keys.workers, "w1") > before

    await wait_until(renewed)
    await cell.client.config_set("maxmemory", 0)
    await order(cell)
    await wait_until(lambda: worker.claims)
    await worker.heart.close()
    await cell.close()


async def test_a_list_of_another_type_costs_no_lease(cell: Cell, make_worker: Make) -> None:
    """Redis refuses the read; the beats go on, and what is written there later is read."""
    await cell.client.set(cell.keys.orders("w1"), "text", ex=60)
    worker = make_worker()
    await worker.start()
    before = await cell.client.zscore(cell.keys.workers, "w1")

    async def renewed() -> bool:
        return await cell.client.zscore(cell.keys.workers, "w1") > before

    await wait_until(renewed)
    await cell.client.delete(cell.keys.orders("w1"))
    await order(cell)
    await wait_until(lambda: worker.claims)


async def test_rqs_own_classes_read_what_the_script_wrote(rq_cell: Cell) -> None:
    """So `rq info` shows the queue, and `rq empty` works."""
    from redis import Redis

    await rq_cell.place(placing())
    token = await rq_cell.token()
    with Redis.from_url(rq_cell.url) as client:
        queue = Queue("cold", connection=client, serializer=JSONSerializer)
        (job,) = await asyncio.to_thread(queue.get_jobs)
        assert (job.func_name, job.args) == ("warmroute.load", [REF, token])
        assert rq_cell.keys.rq_prefix.endswith(RQ_CELL + "}:rq")
