"""`lib/loaded_versions.lua`: which versions have been loaded, and when a trial is due."""

from __future__ import annotations

import pytest

from tests.helpers.cell import Cell
from tests.helpers.factories import placing
from tests.lua.fleet import NOW_MS, lease, worker

WEEK_MS = 604_800_000


def ref(version: int, digest: str = "0123456789ab") -> str:
    return f"bert:{version}:{digest}"


async def live(cell: Cell) -> dict[int, str]:
    found = await cell.client.hgetall(cell.keys.loaded_versions("bert"))
    return {int(version): digest.decode() for version, digest in found.items()}


async def have(cell: Cell, epoch: str, of: str, **learned: int) -> None:
    await cell.scripts.announce("w1", epoch, of, "", "device 1", learned)


async def test_what_is_announced_is_live_for_a_week(cell: Cell) -> None:
    """Also when a worker says it again, as after a FLUSHALL."""
    epoch = await worker(cell)
    for _ in range(2):
        await have(cell, epoch, ref(3))
        assert await live(cell) == {3: "0123456789ab"}
        assert 0 < await cell.client.pttl(cell.keys.loaded_versions("bert")) <= WEEK_MS
        await cell.client.delete(cell.keys.loaded_versions("bert"))


async def test_only_the_newest_few_are_kept(cell: Cell) -> None:
    """In whatever order they come."""
    epoch = await worker(cell)
    for version in (12, 3, 9, 7, 1, 10, 2, 8, 11, 4, 5, 6):
        await have(cell, epoch, ref(version))
    assert sorted(await live(cell)) == list(range(5, 13))


async def test_a_version_that_was_published_again_is_live_as_it_is_now(cell: Cell) -> None:
    """The digest says which."""
    epoch = await worker(cell)
    await have(cell, epoch, ref(1), pin=1)
    await have(cell, epoch, ref(1, "ba9876543210"), pin=1)
    assert await live(cell) == {1: "ba9876543210"}
    assert await cell.client.hget(cell.keys.stats(ref(1)), "pin") == b"0"


async def test_what_a_manifest_keeps_holds_for_the_newest_that_is_live(cell: Cell) -> None:
    """Pins of old versions would fill a worker; what the API has set stays."""
    epoch = await worker(cell)
    for version in (1, 2, 3):
        await have(cell, epoch, ref(version), pin=1, min_copies=1)
    kept = [await cell.scripts.retire("w1", epoch, ref(v), "", "evict") for v in (3, 2, 1)]
    assert kept[0] == "pinned" and not {"pinned", "needed"} & set(kept[1:])
    await have(cell, epoch, ref(2), pin=1)  # somebody named it
    assert await cell.scripts.retire("w1", epoch, ref(2), "", "evict") != "pinned"
    await cell.scripts.order_copy(ref(2), 1)  # a gateway that has not heard of version 3 yet
    assert await cell.client.hget(cell.keys.stats(ref(2)), "min_copies") == b"0"
    await cell.scripts.set_policy(ref(1), {"pin": "1"})
    await have(cell, epoch, ref(1))
    assert await cell.scripts.retire("w1", epoch, ref(1), "", "evict") == "pinned"


@pytest.mark.parametrize("passing", [True, False])
async def test_what_cannot_be_loaded_any_more_is_not_live(cell: Cell, passing: bool) -> None:
    """For good; a reason that may pass says nothing of the version."""
    epoch = await worker(cell)
    for version in (1, 2):
        await have(cell, epoch, ref(version))
        await cell.scripts.retire("w1", epoch, ref(version))
    await cell.place(placing(ref=ref(2)))
    token = await cell.claim("w1", epoch, ref(2))
    await cell.scripts.fail_load("w1", ref(2), token, b"corrupt its hash", 5000, passing, "cpu")
    assert sorted(await live(cell)) == ([1, 2] if passing else [1])


async def test_a_further_copy_that_fails_leaves_it_live(cell: Cell) -> None:
    """Another worker holds it."""
    first = await worker(cell)
    second = await worker(cell, "w2")
    await cell.scripts.order_copy(ref(1))
    token = await cell.claim("w2", second, ref(1))
    await have(cell, first, ref(1))
    await cell.scripts.fail_load("w2", ref(1), token, b"corrupt its hash", 5000, False, "cpu")
    assert sorted(await live(cell)) == [1]


async def test_a_trial_that_failed_rests_longer_each_time(cell: Cell) -> None:
    """10 s, 20 s, 40 s ... 10 minutes; an order that somebody waits for does not."""
    cell.scripts.now_ms, rest_ms = NOW_MS, 10_000
    for _ in range(9):
        epoch = await worker(cell)
        assert (await cell.scripts.order_copy(ref(2), trial=True)).status == "ordered"
        assert (await lease(cell, ref(2)))["extra"] == "trial"
        token = await cell.claim("w1", epoch, ref(2))
        await cell.scripts.fail_load("w1", ref(2), token, b"corrupt it is", 1, False, "cpu")
        await cell.client.delete(cell.keys.unloadable(ref(2)), cell.keys.incompatible(ref(2)))
        cell.scripts.now_ms += min(rest_ms, 600_000) - 1
        await worker(cell)
        assert (await cell.scripts.order_copy(ref(2), trial=True)).status == "resting"
        cell.scripts.now_ms += 1
        rest_ms *= 2
    await worker(cell)
    await cell.scripts.order_copy(ref(2), trial=True)
    await cell.client.delete(cell.keys.load(ref(2)))
    assert (await cell.scripts.order_copy(ref(2))).status == "ordered"


async def test_what_crashed_workers_twice_is_tried_no_more(cell: Cell) -> None:
    """A trial that takes the device process with it would be an outage for all others there."""
    for _ in range(2):
        epoch = await worker(cell)
        await cell.client.hdel(cell.keys.stats(ref(2)), "rests")
        assert (await cell.scripts.order_copy(ref(2), trial=True)).status == "ordered"
        await cell.claim("w1", epoch, ref(2))
        await cell.scripts.fence_worker("w1", epoch, 0, "was killed by SIGSEGV", 3)
    await worker(cell)
    await cell.client.hdel(cell.keys.stats(ref(2)), "rests")
    assert (await cell.scripts.order_copy(ref(2), trial=True)).status == "resting"
