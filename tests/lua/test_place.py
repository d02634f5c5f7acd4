"""place.lua: a request goes to a live holder, or waits for a load of its model, or is refused."""

from __future__ import annotations

from shared.placed import Limits
from tests.helpers.cell import WIDE, Cell
from tests.helpers.factories import KEPT, OTHER_REF, REF, kept, placing


async def test_a_request_goes_onto_the_work_stream_of_a_holder(cell: Cell) -> None:
    """It is `placed` there with every field a worker needs, and has no record of its own."""
    await cell.worker("w1", holds=[REF])
    item = placing(body=b"tensors")
    placed = (await cell.place(item))[0]
    (entry,) = await cell.stream(cell.keys.work("w1"))
    assert placed.status == "placed"
    assert (placed.detail, placed.entry) == ("w1", entry.entry.decode())
    assert entry.fields == {
        "id": item.id.encode(), "model": REF.encode(), "deadline": str(placed.deadline_ms).encode(),
        "reply": b"gw1", "flags": b"", "attempts": b"0", "body": b"tensors",
    }  # fmt: skip
    assert await cell.record(item.id) == {}


async def test_the_deadline_is_counted_from_the_clock_of_redis(cell: Cell) -> None:
    """The deadline that a request gets is now plus its timeout, in milliseconds."""
    cell.scripts.now_ms = 1_000_000
    (placed,) = await cell.place(placing(timeout_ms=1234))
    assert placed.deadline_ms == 1_001_234


async def test_a_kept_request_has_a_record_with_its_place_and_its_deadline(cell: Cell) -> None:
    """Who polls finds where it lives; the sweep finds when it ends."""
    await cell.worker("w1", holds=[REF])
    item = kept()
    (placed,) = await cell.place(item)
    record = await cell.record(item.id)
    assert record == {
        "status": b"placed", "model": REF.encode(), "stream": cell.keys.work("w1").encode(),
        "entry": placed.entry.encode(), "deadline": str(placed.deadline_ms).encode(),
        "flags": KEPT.encode(), "reply": b"",
    }  # fmt: skip
    assert await cell.client.zscore(cell.keys.deadlines, item.id) == placed.deadline_ms
    assert await cell.client.pttl(cell.keys.request(item.id)) > 0


async def test_a_request_for_a_cold_model_is_parked_and_orders_one_load(cell: Cell) -> None:
    """The first one orders; those after it only wait. All of them are known to be cold."""
    first, second = await cell.place(placing(), placing())
    assert (first.status, first.detail, second.status) == ("parked", "", "parked")
    assert len(await cell.orders()) == 1
    entries = await cell.stream(cell.keys.parked(REF))
    assert [e.entry.decode() for e in entries] == [first.entry, second.entry]
    assert {e.fields["flags"] for e in entries} == {b"kc"}
    assert await cell.client.smembers(cell.keys.parked_refs) == {REF.encode()}
    lease = await cell.client.hgetall(cell.keys.load(REF))
    assert (lease[b"phase"], lease[b"worker"]) == (b"ordered", b"")


async def test_each_cold_model_has_an_order_of_its_own(cell: Cell) -> None:
    """Two models asked for in one call are ordered with two tokens."""
    await cell.place(placing(), placing(ref=OTHER_REF))
    assert len(set(await cell.orders())) == 2
    assert await cell.token(REF) != await cell.token(OTHER_REF)


async def test_a_parked_request_has_a_record_even_if_a_caller_waits(cell: Cell) -> None:
    """So that it can be expired and taken back wherever it is moved to."""
    item = placing()
    await cell.place(item)
    assert (await cell.record(item.id))["status"] == b"parked"


async def test_the_least_loaded_holder_gets_the_request(cell: Cell) -> None:
    """Within one call too: each placement counts for the next."""
    await cell.worker("w1", holds=[REF, OTHER_REF])
    await cell.worker("w2", holds=[REF])
    await cell.place(*[placing(ref=OTHER_REF) for _ in range(3)])
    placed = await cell.place(*[placing() for _ in range(5)])
    assert sorted(p.detail for p in placed) == ["w1", "w2", "w2", "w2", "w2"]
    assert {p.detail for p in placed[:3]} == {"w2"}


async def test_a_holder_whose_lease_ran_out_gets_nothing(cell: Cell) -> None:
    """A worker that may be dead is passed over, although it is not reaped yet."""
    cell.scripts.now_ms = 1_000_000
    await cell.worker("w1", holds=[REF], lease_ms=5000)
    cell.scripts.now_ms = 1_004_999
    assert (await cell.place(placing()))[0].status == "placed"
    cell.scripts.now_ms = 1_005_000
    assert (await cell.place(placing()))[0].status == "parked"


async def test_a_full_work_stream_refuses_and_says_so(cell: Cell) -> None:
    """The bound is kept in one burst as well; nothing of the refused is written."""
    await cell.worker("w1", holds=[REF])
    limits = WIDE._replace(work=3)
    items = [kept() for _ in range(5)]
    placed = await cell.place(*items, limits=limits)
    assert [p.status for p in placed] == ["placed"] * 3 + ["full"] * 2
    assert placed[3].detail == "work"
    assert await cell.client.xlen(cell.keys.work("w1")) == 3
    assert await cell.record(items[4].id) == {}


async def test_a_full_parked_stream_refuses(cell: Cell) -> None:
    """Each cold model has its own bound."""
    limits = WIDE._replace(parked=2)
    placed = await cell.place(*[placing() for _ in range(3)], limits=limits)
    assert [p.status for p in placed] == ["parked", "parked", "full"]
    assert placed[2].detail == "parked"
    assert (await cell.place(placing(ref=OTHER_REF), limits=limits))[0].status == "parked"


async def test_the_cell_refuses_beyond_its_pending_records(cell: Cell) -> None:
    """Submitted and parked requests count, in one call and over many."""
    await cell.worker("w1", holds=[REF])
    limits = WIDE._replace(pending=3)
    placed = await cell.place(kept(), kept(), placing(ref=OTHER_REF), kept(), limits=limits)
    assert [p.status for p in placed] == ["placed", "placed", "parked", "full"]
    assert placed[3].detail == "pending"
    assert (await cell.place(kept(), limits=limits))[0].status == "full"


async def test_warm_requests_that_leave_no_record_pass_a_full_cell(cell: Cell) -> None:
    """A crowd that waits for cold models must not stop traffic to warm ones."""
    await cell.worker("w1", holds=[REF])
    limits = WIDE._replace(pending=1)
    await cell.place(placing(ref=OTHER_REF), limits=limits)
    warm, cold, kept_one = await cell.place(
        placing(), placing(ref=OTHER_REF), kept(), limits=limits
    )
    assert (warm.status, cold.status, kept_one.status) == ("placed", "full", "full")


async def test_a_model_that_just_failed_to_load_is_refused_with_the_cause(cell: Cell) -> None:
    """The negative cache answers at once, and orders nothing."""
    await cell.client.set(cell.keys.unloadable(REF), "corrupt its hash is wrong", px=10_000)
    (placed,) = await cell.place(kept())
    assert (placed.status, placed.detail) == ("unloadable", "corrupt its hash is wrong")
    assert await cell.orders() == []
    assert await cell.exists(cell.keys.parked(REF), cell.keys.deadlines) == []


async def test_an_unloadable_model_with_a_holder_is_served(cell: Cell) -> None:
    """One worker's failed load does not hide another's copy."""
    await cell.worker("w1", holds=[REF])
    await cell.client.set(cell.keys.unloadable(REF), "corrupt its hash is wrong", px=10_000)
    assert (await cell.place(placing()))[0].status == "placed"


async def test_an_ingress_entry_goes_in_the_step_that_accepts_its_request(cell: Cell) -> None:
    """Its request is placed, the entry is gone and acknowledged, where to answer is kept."""
    await cell.gateway()
    await cell.worker("w1", holds=[REF])
    entry = (await cell.client.xadd(cell.keys.ingress, {"model": "mnist"})).decode()
    await cell.client.xreadgroup("g", "gw1", {cell.keys.ingress: ">"})
    item = kept(ingress=entry, reply_to="answers")
    assert (await cell.place(item))[0].status == "placed"
    assert await cell.client.xlen(cell.keys.ingress) == 0
    assert (await cell.client.xpending(cell.keys.ingress, "g"))["pending"] == 0
    assert (await cell.record(item.id))["reply_to"] == b"answers"


async def test_an_ingress_entry_is_taken_once(cell: Cell) -> None:
    """Whoever comes second, in the same call or later, is told `duplicate` and changes nothing."""
    await cell.gateway()
    entry = (await cell.client.xadd(cell.keys.ingress, {"model": "mnist"})).decode()
    first, second = await cell.place(kept(ingress=entry), kept(ingress=entry))
    (third,) = await cell.place(kept(ingress=entry))
    assert (first.status, second.status, third.status) == ("parked", "duplicate", "duplicate")
    assert await cell.client.xlen(cell.keys.parked(REF)) == 1


async def test_an_ingress_entry_that_is_refused_stays(cell: Cell) -> None:
    """When queues are full it waits in the stream."""
    await cell.gateway()
    entry = (await cell.client.xadd(cell.keys.ingress, {"model": "mnist"})).decode()
    (placed,) = await cell.place(kept(ingress=entry), limits=Limits(1, 0, 100))
    assert placed.status == "full"
    assert await cell.client.xlen(cell.keys.ingress) == 1


async def test_items_are_answered_one_by_one(cell: Cell) -> None:
    """A refused item changes nothing for those around it in the call."""
    await cell.worker("w1", holds=[REF])
    await cell.client.set(cell.keys.unloadable(OTHER_REF), "corrupt", px=10_000)
    placed = await cell.place(placing(), placing(ref=OTHER_REF), placing())
    assert [p.status for p in placed] == ["placed", "unloadable", "placed"]


async def test_the_reply_stream_of_a_waiting_caller_is_there(cell: Cell) -> None:
    """Also after Redis lost it: the reply would have nowhere to go. It has a lifetime."""
    await cell.place(placing(reply="gw9"), placing(reply=""))
    assert 0 < await cell.client.pttl(cell.keys.replies("gw9")) <= 60_000


async def test_the_deadline_of_a_stream_entry_counts_from_when_it_was_written(cell: Cell) -> None:
    """One that is past it is late, and stays for its refusal; a time to come counts as now."""
    cell.scripts.now_ms = 1_000_000
    await cell.gateway()
    ids = ["999000-0", "999500-0", "5000000-0"]
    for entry in ids:
        await cell.client.xadd(cell.keys.ingress, {"model": "mnist"}, id=entry)
    rows = await cell.place(*(kept(ingress=entry, timeout_ms=1000) for entry in ids))
    assert [row.status for row in rows] == ["late", "parked", "parked"]
    assert [row.deadline_ms for row in rows[1:]] == [1_000_500, 1_001_000]
    assert await cell.client.xlen(cell.keys.ingress) == 1


async def test_a_refusal_says_when_half_of_the_queue_will_be_done(cell: Cell) -> None:
    """At the rate that the worker reports; a second if it reports none, a minute at most."""
    epoch = await cell.worker("w1", holds=[REF])
    await cell.place(*(placing() for _ in range(40)))
    waits = []
    for rate in (None, 0, 4, 0.01):
        if rate is not None:
            fields = {"completed_per_s": rate}
            await cell.scripts.heartbeat("w1", epoch, "one", 10_000, 1, fields)
        (refused,) = await cell.place(placing(), limits=Limits(40, 10, 100))
        assert refused.status == "full"
        waits.append(refused.retry_ms)
    assert waits == [1000, 1000, 5000, 60_000]
