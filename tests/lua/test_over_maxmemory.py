"""Over `maxmemory` Redis takes no new request, but everything accepted is finished: it drains.

Redis refuses a script only if its *first* write may need memory. So each script that ends, moves
or starts what was accepted begins with a write that never does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from deploy.local.redis_server import RedisServer
from shared.errors import Unavailable
from tests.helpers.cell import LEASE_MS, MAX_ATTEMPTS, Cell, open_cell
from tests.helpers.factories import OTHER_REF, REF, kept, placing
from tests.lua import fleet


@pytest.fixture
async def cell(own_redis: RedisServer) -> AsyncIterator[Cell]:
    """A cell on a Redis of its own, which the test may fill."""
    opened = open_cell(own_redis.url, "full")
    yield opened
    await opened.client.config_set("maxmemory", 0)
    await opened.close()


async def fill(cell: Cell) -> None:
    """From here on Redis is over its limit."""
    await cell.client.config_set("maxmemory", 1)


async def test_no_request_is_accepted(cell: Cell) -> None:
    """The caller is told to come back, and nothing is half done."""
    await cell.worker("w1", holds=[REF])
    await fill(cell)
    with pytest.raises(Unavailable, match="Redis refused"):
        await cell.place(kept(), placing(ref=OTHER_REF))
    assert await cell.exists(cell.keys.deadlines, cell.keys.parked(OTHER_REF)) == []
    assert await cell.client.xlen(cell.keys.work("w1")) == 0


async def test_what_was_placed_runs_and_is_answered(cell: Cell) -> None:
    """begin and complete work, also where the first entry of the batch is gone."""
    epoch = await cell.worker("w1", holds=[REF])
    await cell.gateway()
    items = [kept(reply="gw1"), kept(reply="gw1"), placing()]
    await cell.place(*items)
    entries = await cell.read("w1")
    await cell.cancel(items[0].id)
    await fill(cell)
    assert await cell.begin("w1", epoch, entries) == [b"gone", b"run", b"run"]
    assert await cell.complete("w1", epoch, entries) == [0, 1, 1]
    assert [r["status"] for r in await cell.replies()] == [b"cancelled", b"succeeded", b"succeeded"]


async def test_leases_are_kept(cell: Cell) -> None:
    """A fleet that could not renew its leases would be reaped just when Redis has no room."""
    epoch = await cell.worker("w1", holds=[REF])
    await cell.gateway()
    await fill(cell)
    assert (
        await cell.scripts.heartbeat("w1", epoch, "one", LEASE_MS, 1, {"used_bytes": 7})
    ).answer == "ok"
    assert await cell.client.hget(cell.keys.worker("w1"), "used_bytes") == b"7"
    assert await cell.gateway() == 0


async def test_a_load_under_way_ends_well_or_badly(cell: Cell) -> None:
    """claim, renew, announce and fail work: parked requests are answered."""
    epoch = await cell.worker("w1")
    await cell.place(kept(), kept(ref=OTHER_REF))
    await fill(cell)
    token = await cell.claim("w1", epoch)
    assert await cell.scripts.renew_load("w1", REF, token, LEASE_MS)
    assert await cell.scripts.announce("w1", epoch, REF, token, "device") == 0
    assert await cell.client.xlen(cell.keys.work("w1")) == 1
    token = await cell.claim("w1", epoch, OTHER_REF)
    assert await cell.scripts.fail_load("w1", OTHER_REF, token, b"corrupt no", 1000) == 0
    assert await cell.exists(cell.keys.parked(OTHER_REF)) == []


async def test_an_order_can_be_handed_back(cell: Cell) -> None:
    """To another worker, or to nobody."""
    epoch = await cell.worker("w1")
    await cell.worker("w2")
    await cell.place(kept())
    token = await cell.claim("w1", epoch)
    await fill(cell)
    assert await cell.scripts.refuse_load("w1", REF, token) == "ordered"
    assert await cell.scripts.refuse_load("w2", REF, await cell.token()) == "no_worker"


async def test_a_load_goes_where_it_belongs(cell: Cell) -> None:
    """With a head start, a reason to wait, to its kin, to another class, or nowhere."""
    epochs = {
        name: await fleet.worker(cell, name, holds=[OTHER_REF] if name == "w2" else [], **device)
        for name, device in (
            ("w1", {"device_class": "a"}),
            ("w2", {"device_class": "a"}),
            ("w3", {"device_class": "b"}),
        )
    }
    await fleet.warm_hint(cell, "w1", "disk")
    await cell.client.sadd(cell.keys.affinity("team"), OTHER_REF)
    await cell.place(kept())
    await fill(cell)
    assert await fleet.claim(cell, "w3", epochs["w3"]) == "later"
    token = await cell.claim("w1", epochs["w1"])
    assert await cell.scripts.renew_load("w1", REF, token, LEASE_MS, "a busy copy drains")
    assert await cell.scripts.route_by_affinity("w1", REF, token, "team", "prefer") == "elsewhere"
    for name in ("w2", "w1"):
        token = await cell.claim(name, epochs[name])
        failed = await cell.scripts.fail_load(
            name, REF, token, b"corrupt no", 1000, device_class="a", scope="class"
        )
        assert failed == 0
    token = await cell.claim("w3", epochs["w3"])
    learned = {"remote": 5, "min_copies": 2}
    assert await cell.scripts.announce("w3", epochs["w3"], REF, token, "device 1", learned) == 0
    assert await cell.client.hget(cell.keys.stats(REF), "remote") == b"5"


async def test_a_further_copy_that_no_worker_can_take_is_cancelled(cell: Cell) -> None:
    """And what is freed is noted where it is left."""
    first = await cell.worker("w1", holds=[REF])
    second = await cell.worker("w2")
    await cell.scripts.order_copy(REF, 2)
    await cell.scripts.reconcile()
    token = await cell.claim("w2", second)
    await fill(cell)
    assert await cell.scripts.refuse_load("w2", REF, token) == "no_capacity"
    assert await cell.scripts.retire("w1", first, REF, "disk") == "0-0"
    assert await cell.exists(cell.keys.no_capacity(REF), cell.keys.warm(REF)) != []


async def test_sessions_are_kept_and_given_up(cell: Cell) -> None:
    """A client that lives keeps its models; nothing new opens."""
    cell.scripts.now_ms = fleet.NOW_MS
    epoch = await fleet.worker(cell, budget_bytes=100, holds=[REF])
    for name in ("s1", "s2", "s3"):
        await cell.scripts.open_session(name, LEASE_MS, 10, [(REF, 1)])
    await fill(cell)
    assert await cell.scripts.keep_session("s1", 60_000) == fleet.NOW_MS + 60_000
    assert await cell.scripts.close_session("s2")
    cell.scripts.now_ms += LEASE_MS
    assert await cell.scripts.reconcile() == (1, 0)
    assert (await cell.scripts.heartbeat("w1", epoch, "one", LEASE_MS, 1, {})).answer == "ok"
    for call in (
        cell.scripts.open_session("s4", 1000, 10, [(REF, 1)]),
        cell.scripts.set_policy(REF, {"pin": "1"}),
        cell.scripts.order_copy(OTHER_REF, 1),
    ):
        with pytest.raises(Unavailable, match="Redis refused"):
            await call
    assert await cell.scripts.order_unload(REF) == -1


async def test_a_dead_worker_is_reaped_and_the_late_expire(cell: Cell) -> None:
    """Housekeeping goes on: it is what makes room again."""
    cell.scripts.now_ms = 1_000_000
    await cell.worker("w1", holds=[REF])
    await cell.worker("w2", holds=[OTHER_REF])
    late = kept(timeout_ms=1)
    await cell.place(late, kept(timeout_ms=60_000, ref=OTHER_REF))
    cell.scripts.now_ms += 1 + LEASE_MS
    await fill(cell)
    assert await cell.reap() in (("w1", 0), ("w2", 0))
    assert await cell.reap() in (("w1", 0), ("w2", 0))
    assert (await cell.record(late.id))["status"] == b"expired"
    cell.scripts.now_ms += 60_000
    assert (await cell.scripts.sweep())[0] == 1


async def test_a_worker_registers_retires_and_leaves(cell: Cell) -> None:
    """A restart in such a moment finds its way back."""
    epoch = await cell.worker("w1", holds=[REF])
    await fill(cell)
    assert await cell.scripts.retire("w1", epoch, REF) == "0-0"
    epoch = await cell.worker("w1", holds=[REF])
    assert await cell.scripts.leave("w1", epoch, MAX_ATTEMPTS)


async def test_a_poller_can_still_read_wait_and_cancel(cell: Cell) -> None:
    """watch and cancel work."""
    item = kept()
    await cell.place(item)
    await fill(cell)
    assert (await cell.scripts.subscribe(item.id, "gw1"))["status"] == b"parked"
    assert await cell.cancel(item.id) == "cancelled"


async def test_new_work_is_refused_before_redis_is_full(cell: Cell) -> None:
    """Also in a burst: what one call has taken is counted down for the next."""
    used = int((await cell.client.info("memory"))["used_memory"])
    await cell.client.config_set("maxmemory", int((used + 30_000_000) / 0.9))
    large = b"x" * 1_000_000
    rows = [(await cell.place(kept(body=large)))[0] for _ in range(40)]
    assert [row.status for row in rows[:2]] == ["parked", "parked"]
    assert [row.status for row in rows[-2:]] == ["memory", "memory"]
    assert rows[-1].retry_ms >= 1000
    assert await cell.client.zcard(cell.keys.deadlines) == sum(r.status == "parked" for r in rows)


async def test_an_accepted_key_is_answered_over_maxmemory(cell: Cell) -> None:
    """Joining takes none."""
    first = kept(key="k", fingerprint="f")
    await cell.place(first)
    await cell.client.set(cell.keys.headroom, 1, px=10_000)
    joined, refused = await cell.place(kept(key="k", fingerprint="f"), kept())
    assert (joined.status, joined.detail, refused.status) == ("joined", first.id, "memory")


async def test_outcomes_that_nobody_polls_do_not_keep_redis_full(cell: Cell) -> None:
    """Dropped down to their share they leave the memory to requests, long before an hour ends."""
    epoch = await cell.worker("w1", holds=[REF])
    used = int((await cell.client.info("memory"))["used_memory"])
    await cell.client.config_set("maxmemory", used + 30_000_000)
    large = b"o" * 1_000_000
    while (await cell.place(kept()))[0].status == "placed":
        entries = await cell.read("w1")
        await cell.begin("w1", epoch, entries)
        assert await cell.complete("w1", epoch, entries, outcome=large) == [1]
        await cell.client.delete(cell.keys.headroom)
    assert not (await cell.scripts.gateway_beat("gw1", LEASE_MS)).fits
    assert (await cell.scripts.drop_kept(0))[0] > 10
    await cell.client.delete(cell.keys.headroom)
    assert (await cell.place(kept()))[0].status == "placed"
    assert (await cell.scripts.gateway_beat("gw1", LEASE_MS)).fits
