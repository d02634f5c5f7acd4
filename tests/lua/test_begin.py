"""begin.lua: the start of a batch is counted, and what must not start any more is refused."""

from __future__ import annotations

from shared.scripts import Cancel
from tests.helpers.cell import WIDE, Cell
from tests.helpers.factories import REF, kept, placing


async def test_placed_requests_may_run_and_their_start_is_counted(cell: Cell) -> None:
    """A kept one shows that it runs, and where."""
    epoch = await cell.worker("w1", holds=[REF])
    item = kept()
    await cell.place(item, placing())
    entries = await cell.read("w1")
    assert await cell.begin("w1", epoch, entries) == [b"run", b"run"]
    assert await cell.client.hkeys(cell.keys.started("w1")) == [e.entry for e in entries]
    record = await cell.record(item.id)
    assert (record["status"], record["worker"]) == (b"running", b"w1")


async def test_a_request_that_was_read_but_not_started_is_not_counted(cell: Cell) -> None:
    """Delivery alone is no attempt."""
    epoch = await cell.worker("w1", holds=[REF])
    await cell.place(placing(), placing())
    first, _ = await cell.read("w1")
    await cell.begin("w1", epoch, [first])
    assert await cell.client.hkeys(cell.keys.started("w1")) == [first.entry]


async def test_nothing_starts_after_its_deadline(cell: Cell) -> None:
    """By Redis's clock, which the answer carries; at the deadline it is too late."""
    cell.scripts.now_ms = 1_000_000
    epoch = await cell.worker("w1", holds=[REF])
    await cell.place(placing(timeout_ms=10), placing(timeout_ms=11))
    entries = await cell.read("w1")
    cell.scripts.now_ms += 10
    rows = [(e, f["id"], int(f["deadline"]), f["flags"]) for e, f in entries]
    assert await cell.scripts.begin("w1", epoch, 1, rows) == (1_000_010, [b"expired", b"run"])
    assert await cell.client.hkeys(cell.keys.started("w1")) == [entries[1].entry]


async def test_a_cancelled_request_is_gone(cell: Cell) -> None:
    """First, in the middle and last in a batch; the others run."""
    epoch = await cell.worker("w1", holds=[REF])
    items = [kept() for _ in range(5)]
    await cell.place(*items)
    entries = await cell.read("w1")
    for at in (0, 2, 4):
        await cell.cancel(items[at].id)
    verdicts = await cell.begin("w1", epoch, entries)
    assert verdicts == [b"gone", b"run", b"gone", b"run", b"gone"]
    assert await cell.record(items[0].id) | {"status": b"cancelled"} == await cell.record(
        items[0].id
    )


async def test_what_was_withdrawn_before_anybody_knew_its_place_does_not_run(cell: Cell) -> None:
    """The answer to its placement was lost and its caller has left: cancelled before it is
    placed or after, it ends as cancelled when its turn comes."""
    epoch = await cell.worker("w1", holds=[REF])
    early, late, stays = (placing(flags="") for _ in range(3))
    assert await cell.scripts.cancel([Cancel(early.id, ref=REF, life_ms=60_000)]) == ["unknown"]
    await cell.place(early, late, stays)
    assert await cell.scripts.cancel([Cancel(late.id, ref=REF, life_ms=60_000)]) == ["unknown"]
    entries = await cell.read("w1")
    assert await cell.begin("w1", epoch, entries) == [b"cancelled", b"cancelled", b"run"]
    assert await cell.client.hkeys(cell.keys.started("w1")) == [entries[2].entry]
    assert 0 < await cell.client.pttl(cell.keys.withdrawn) <= 60_000


async def test_what_is_withdrawn_is_remembered_as_long_as_it_may_live(cell: Cell) -> None:
    """Not longer, and the newest ten thousand."""
    cell.scripts.now_ms = 1_000_000
    first, second = (Cancel(placing().id, ref=REF, life_ms=life) for life in (1000, 2000))
    await cell.scripts.cancel([first])
    cell.scripts.now_ms += 1000
    await cell.scripts.cancel([second])
    assert await cell.client.zrange(cell.keys.withdrawn, 0, -1) == [second.id.encode()]
    await cell.scripts.cancel([Cancel(f"{n:032x}", life_ms=3000) for n in range(10_000)])
    assert await cell.client.zcard(cell.keys.withdrawn) == 10_000


async def test_a_batch_out_of_a_long_pending_list_is_found(cell: Cell) -> None:
    """However many entries lie between its first and its last."""
    epoch = await cell.worker("w1", holds=[REF])
    for _ in range(5):
        many = [placing() for _ in range(1000)]
        await cell.place(*many, limits=WIDE._replace(work=10_000))
    entries = await cell.read("w1", count=5000)
    assert await cell.begin("w1", epoch, [entries[0], entries[-1]]) == [b"run", b"run"]


async def test_a_repeated_begin_counts_one_start(cell: Cell) -> None:
    """When the first answer was lost it is asked again."""
    epoch = await cell.worker("w1", holds=[REF])
    await cell.place(placing())
    entries = await cell.read("w1")
    await cell.begin("w1", epoch, entries)
    assert await cell.begin("w1", epoch, entries) == [b"run"]
    assert await cell.client.hlen(cell.keys.started("w1")) == 1


async def test_a_worker_of_an_older_epoch_begins_nothing(cell: Cell) -> None:
    """It is told `fenced`, once for all."""
    old = await cell.worker("w1", holds=[REF])
    await cell.place(placing(), placing())
    entries = await cell.read("w1")
    await cell.worker("w1")
    assert await cell.begin("w1", old, entries) == [b"fenced"]
    assert await cell.exists(cell.keys.started("w1")) == []


async def test_an_entry_that_was_moved_is_gone_for_its_old_reader(cell: Cell) -> None:
    """A worker that came back under a new epoch may not start what its old epoch had read."""
    await cell.worker("w1", holds=[REF])
    await cell.place(placing())
    entries = await cell.read("w1")
    epoch = await cell.worker("w1", holds=[REF])
    assert await cell.begin("w1", epoch, entries) == [b"gone"]
    assert await cell.begin("w1", epoch, await cell.read("w1")) == [b"run"]
