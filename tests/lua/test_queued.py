"""The limit of a work stream is per model: one model's flood leaves room for its neighbours."""

from __future__ import annotations

import pytest

from shared.placed import Limits
from tests.helpers.cell import MAX_ATTEMPTS, Cell, Entry
from tests.helpers.factories import OTHER_REF, REF, kept, placing

L = 16
LIMITS = Limits(work=L, parked=1000, pending=1000)
REFS = [f"m{n}:1:d" for n in range(8)]


async def counts(cell: Cell, worker: str = "w1") -> dict[str, int]:
    found = await cell.client.hgetall(cell.keys.queued(worker))
    return {ref.decode(): int(n) for ref, n in found.items()}


async def flood(cell: Cell, ref: str, count: int) -> int:
    """How many of so many requests were placed."""
    placed = await cell.place(*[placing(ref=ref) for _ in range(count)], limits=LIMITS)
    return sum(p.status == "placed" for p in placed)


async def test_a_flood_of_one_model_refuses_no_request_of_another(cell: Cell) -> None:
    """Each has the whole limit."""
    await cell.worker("w1", holds=[REF, OTHER_REF])
    assert await flood(cell, REF, 50 * L) == L
    assert await flood(cell, OTHER_REF, L) == L
    assert await counts(cell) == {REF: L, OTHER_REF: L}


async def test_the_whole_stream_is_bounded_and_each_model_keeps_a_share(cell: Cell) -> None:
    """Four times the limit of one model, and then a little for each that has less."""
    await cell.worker("w1", holds=REFS)
    assert [await flood(cell, ref, 2 * L) for ref in REFS] == [L] * 4 + [1] * 4


async def test_a_full_holder_does_not_hide_one_with_room(cell: Cell) -> None:
    """The shorter stream has as many of this model as it takes; the longer one has none."""
    await cell.worker("w1", holds=[REF])
    assert await flood(cell, REF, L) == L
    await cell.worker("w2", holds=[REF, OTHER_REF])
    await cell.client.hdel(cell.keys.holders(REF), "w2")
    assert await flood(cell, OTHER_REF, L) == L
    await cell.client.hset(cell.keys.holders(REF), "w2", "device 1 0")
    await cell.complete("w2", await cell.epoch("w2"), [])
    assert await flood(cell, REF, 4) == 4
    assert await counts(cell, "w2") == {REF: 4, OTHER_REF: L}


@pytest.mark.parametrize("end", ["complete", "cancel", "cancel_kept", "sweep", "reap", "leave"])
async def test_every_way_off_the_stream_is_counted(cell: Cell, end: str) -> None:
    """What ends makes room; with the last entry the counts go too."""
    cell.scripts.now_ms = 1_000_000
    await cell.gateway()
    epoch = await cell.worker("w1", holds=[REF, OTHER_REF])
    asked = [kept, placing] if end in ("reap", "leave", "complete") else [kept]
    made = placing if end == "cancel" else asked[-1]
    items = [made(ref=ref) for ref in (REF, REF, OTHER_REF)]
    placed = await cell.place(*items, limits=LIMITS)
    assert await counts(cell) == {REF: 2, OTHER_REF: 1}
    entries: list[Entry] = await cell.read("w1")
    stream = cell.keys.work("w1")
    if end == "complete":
        await cell.complete("w1", epoch, entries[:1])
        assert await counts(cell) == {REF: 1, OTHER_REF: 1}
        await cell.complete("w1", epoch, entries)
    elif end.startswith("cancel"):
        for item, p in zip(items, placed, strict=True):
            where = (stream, p.entry) if end == "cancel" else ("", "")
            assert await cell.cancel(item.id, *where, ref=item.ref) == "cancelled"
    elif end == "sweep":
        cell.scripts.now_ms += 120_000
        await cell.attend()
        await cell.scripts.sweep()
    elif end == "reap":
        await cell.client.zadd(cell.keys.workers, {"w1": 0})
        await cell.scripts.reap(MAX_ATTEMPTS)
    else:
        await cell.scripts.leave("w1", epoch, MAX_ATTEMPTS)
    assert await cell.exists(cell.keys.queued("w1")) == []


async def test_what_one_call_ends_of_several_models_is_counted_for_each(cell: Cell) -> None:
    """One write for all: what has entries left keeps its count, and what has none is not listed."""
    epoch = await cell.worker("w1", holds=REFS[:3])
    await cell.place(*[placing(ref=ref) for ref in [*REFS[:3], *REFS[:2]]], limits=LIMITS)
    entries = await cell.read("w1")
    await cell.place(placing(ref=REFS[1]), limits=LIMITS)
    assert await counts(cell) == {REFS[0]: 2, REFS[1]: 3, REFS[2]: 1}
    await cell.complete("w1", epoch, entries[:3])
    assert await counts(cell) == {REFS[0]: 1, REFS[1]: 2}


async def test_a_count_that_is_wrong_refuses_nothing_on_a_short_stream(cell: Cell) -> None:
    """Another release did not count down, or the stream was deleted by hand."""
    await cell.worker("w1", holds=[REF])
    await flood(cell, REF, 1)
    await cell.client.hset(cell.keys.queued("w1"), REF, 10 * L)
    assert await flood(cell, REF, L - 1) == L - 1
    await cell.complete("w1", await cell.epoch("w1"), await cell.read("w1"))
    assert await counts(cell) == {REF: 10 * L - 1}
    await flood(cell, REF, 2)
    assert await counts(cell) == {REF: 2}


async def test_a_count_that_is_too_low_does_not_go_below_none(cell: Cell) -> None:
    """Entries that another release has added are not counted, and end all the same."""
    epoch = await cell.worker("w1", holds=[REF])
    await flood(cell, REF, 2)
    await cell.client.delete(cell.keys.queued("w1"))
    first, second = await cell.read("w1")
    await cell.complete("w1", epoch, [first])
    assert await counts(cell) == {}
    await flood(cell, REF, 1)
    assert await counts(cell) == {REF: 1}
    await cell.complete("w1", epoch, [second])
    assert await cell.client.xlen(cell.keys.work("w1")) == 1
