"""retire.lua: which copies stay, and what is noted of one that goes to a lower tier (I31)."""

from __future__ import annotations

import pytest

from tests.helpers.cell import Cell
from tests.helpers.factories import REF, kept, placing
from tests.lua.fleet import NOW_MS, lease, loaded_once, warm_hint, worker


async def retire(cell: Cell, epoch: str, mode: str, share: float = 0, name: str = "w1") -> str:
    """The answer; a copy that stays is on the map as before."""
    before = await cell.client.hgetall(cell.keys.holders(REF))
    answer = await cell.scripts.retire(name, epoch, REF, "", mode, share)
    if answer in ("", "pinned", "needed"):
        assert await cell.client.hgetall(cell.keys.holders(REF)) == before
    else:
        assert not await cell.client.hexists(cell.keys.holders(REF), name)
    return answer


@pytest.mark.parametrize("pinned", [{"pin": 1}, {"min_copies": 1}, {"min_copies": 2}])
async def test_without_a_mode_every_copy_goes(cell: Cell, pinned: dict[str, int]) -> None:
    """The worker drains: it is not asked."""
    epoch = await worker(cell, holds=[REF])
    await loaded_once(cell, **pinned)
    assert await retire(cell, epoch, "") == "0-0"


async def test_a_pinned_copy_stays_beside_other_copies(cell: Cell) -> None:
    """By its manifest or by the API."""
    epoch = await worker(cell, holds=[REF])
    await worker(cell, "w2", holds=[REF])
    await loaded_once(cell, pin=1)
    assert await retire(cell, epoch, "evict") == "pinned"
    assert await retire(cell, epoch, "spare") == "pinned"


async def test_of_a_session_the_last_copy_stays(cell: Cell) -> None:
    """Another may go. A dead holder is no copy."""
    cell.scripts.now_ms = NOW_MS
    epoch = await worker(cell, holds=[REF], budget_bytes=100)
    await worker(cell, "w2", holds=[REF], lease_ms=1)
    await cell.scripts.open_session("s", 60_000, 10, [(REF, 1)])
    cell.scripts.now_ms += 1
    assert await retire(cell, epoch, "evict") == "pinned"
    await worker(cell, "w2", holds=[REF])
    assert await retire(cell, epoch, "evict") == "0-0"


async def test_a_least_number_of_copies_stays(cell: Cell) -> None:
    """Whoever asks first may go; the next is needed."""
    epochs = {name: await worker(cell, name, holds=[REF]) for name in ("w1", "w2", "w3")}
    await loaded_once(cell, min_copies=2)
    assert await retire(cell, epochs["w3"], "evict", name="w3") == "0-0"
    assert await retire(cell, epochs["w1"], "evict", name="w1") == "needed"
    assert await retire(cell, epochs["w2"], "spare", name="w2") == "needed"


async def test_the_only_copy_is_not_spare(cell: Cell) -> None:
    """To make room it may go."""
    epoch = await worker(cell, holds=[REF])
    assert await retire(cell, epoch, "spare") == "needed"
    assert await retire(cell, epoch, "evict") == "0-0"


@pytest.mark.parametrize(
    ("busy", "share", "answer"),
    [
        ((0.2,), 0.49, "0-0"),
        ((0.2,), 0.51, "needed"),
        ((0.6, 0.6), 0.19, "0-0"),  # between them
        ((0.6, 0.6), 0.21, "needed"),
        ((0.9, 0.1), 0.6, "0-0"),  # one that is over has no time to give, and none to take
        ((0.7,), 0.0, "0-0"),  # it serves nothing
        ((None,), 0.7, "0-0"),  # it has not said how busy it is
        (("much",), 0.7, "0-0"),
    ],
)
async def test_a_copy_is_spare_if_the_others_have_time_for_its_share(
    cell: Cell, busy: tuple[object, ...], share: float, answer: str
) -> None:
    """None of their devices is to be busy for more than seven tenths of the time."""
    epoch = await worker(cell, holds=[REF])
    for number, value in enumerate(busy):
        report = {} if value is None else {"busy_share": value}
        await worker(cell, f"other{number}", holds=[REF], **report)
    assert await retire(cell, epoch, "spare", share) == answer


async def test_a_repeat_is_answered_as_before(cell: Cell) -> None:
    """Though it is no holder any more."""
    epoch = await worker(cell, holds=[REF])
    (placed,) = await cell.place(kept())
    assert await retire(cell, epoch, "evict") == placed.entry
    assert await retire(cell, epoch, "evict") == placed.entry


async def test_an_older_epoch_is_fenced_in_every_mode(cell: Cell) -> None:
    """Pinned or not."""
    old = await worker(cell)
    await worker(cell, holds=[REF])
    await loaded_once(cell, pin=1)
    for mode in ("", "evict", "spare"):
        assert await cell.scripts.retire("w1", old, REF, "host", mode) == ""
    assert await cell.exists(cell.keys.warm(REF)) == []


async def test_where_a_model_is_left_in_a_lower_tier_that_is_noted(cell: Cell) -> None:
    """With the epoch, for an hour. Its next load is for that worker, from there."""
    epoch = await worker(cell, holds=[REF])
    await worker(cell, "w2")
    await cell.scripts.retire("w1", epoch, REF, "host", "evict")
    hint = {b"w1": f"host {epoch}".encode()}
    assert await cell.client.hgetall(cell.keys.warm(REF)) == hint
    assert 0 < await cell.client.pttl(cell.keys.warm(REF)) <= 3_600_000
    await cell.place(placing())
    assert (await lease(cell))["for"] == "w1"
    token = await cell.claim("w1", epoch)
    await cell.scripts.announce("w1", epoch, REF, token, "device 1")
    assert await cell.exists(cell.keys.warm(REF)) == []


async def test_hints_of_workers_that_are_gone_go_with_the_next(cell: Cell) -> None:
    """Ids of workers are random: a fleet that comes and goes leaves nothing."""
    epoch = await worker(cell, holds=[REF])
    await worker(cell, "w2")
    for name in ("gone", "w2"):
        await warm_hint(cell, name, "disk")
    await cell.scripts.retire("w1", epoch, REF, "disk")
    assert set(await cell.client.hkeys(cell.keys.warm(REF))) == {b"w1", b"w2"}


async def test_a_model_that_is_left_nowhere_takes_its_hint_along(cell: Cell) -> None:
    """From host memory to disk to nothing."""
    epoch = await worker(cell, holds=[REF])
    await cell.scripts.retire("w1", epoch, REF, "host")
    await cell.scripts.retire("w1", epoch, REF, "disk")
    assert await cell.client.hget(cell.keys.warm(REF), "w1") == f"disk {epoch}".encode()
    await cell.scripts.retire("w1", epoch, REF)
    assert await cell.exists(cell.keys.warm(REF)) == []
