"""What a gateway has loaded before anybody asks, and that nobody notices it looking."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from router.catalog.catalog import Catalog
from router.catalog.versions import LoadedVersions
from router.fleet import preload as module
from router.fleet import short_queue
from router.fleet.preload import TRIES, Preload
from router.fleet.short_queue import MAX_ORDERS
from shared.errors import StoreUnavailable
from shared.manifest import ref_of
from shared.policy import Policy
from tests.helpers.cell import LEASE_MS, Cell
from tests.helpers.factories import manifest
from tests.helpers.fleet import fleet_of, publish_made_up
from tests.helpers.repository import FakeRepository
from tests.helpers.wait import wait_until


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds without pauses."""
    monkeypatch.setattr(module, "PAUSE_S", 0.001)
    monkeypatch.setattr(short_queue, "FULL_PAUSE_S", 0.001)


@pytest.fixture
def preload(cell: Cell, repository: FakeRepository) -> Preload:
    """Of a gateway over a repository in memory."""
    live = LoadedVersions(cell.channel, cell.keys, cell.scripts)
    catalog = Catalog(repository, 0.0, live)
    return Preload(catalog, cell.channel, cell.keys, cell.scripts)


def add(repository: FakeRepository, name: str, version: int = 1, **policy: Any) -> str:
    """Publish a version with a residency policy; its reference."""
    made = manifest(name=name, version=version, residency=Policy(**policy))
    return str(ref_of(made, repository.add(made)))


async def ordered(cell: Cell, *refs: str) -> list[bool]:
    """Of which models a load is ordered."""
    return [bool(await cell.token(ref)) for ref in refs]


async def test_what_the_manifest_wants_is_ordered(
    cell: Cell, preload: Preload, repository: FakeRepository
) -> None:
    """`preload`, or a least number of copies; nothing else."""
    await cell.worker()
    refs = add(repository, "a", preload=True), add(repository, "b", min_copies=1)
    other = add(repository, "c", priority=1)
    assert await preload.run_once() == 2
    assert await ordered(cell, *refs, other) == [True, True, False]
    assert await cell.client.smembers(cell.keys.min_copies) == {refs[1].encode()}


async def test_a_manifest_is_read_once(preload: Preload, repository: FakeRepository) -> None:
    """However many rounds there are."""
    for number in range(20):
        add(repository, f"m{number}")
    for _ in range(3):
        await preload.run_once()
    assert repository.calls["read_manifest"] == 20
    assert repository.calls == {"list_all": 1, "read_manifest": 20}
    assert repository.most_inside <= module.AT_ONCE


async def test_a_newer_version_is_wanted_once_it_is_live(
    cell: Cell, preload: Preload, repository: FakeRepository
) -> None:
    """It is tried beside the one before, whose copies stay until then, and need not after it."""
    epoch, old = await cell.worker(), add(repository, "a", min_copies=1)
    await cell.worker("w2")
    await preload.run_once()
    token = await cell.claim("w1", epoch, old)
    await cell.scripts.announce("w1", epoch, old, token, "device 1", {"min_copies": 1})
    new = add(repository, "a", 2, min_copies=1)
    await preload.run_once()
    await wait_until(lambda: cell.token(new))
    assert await ordered(cell, old) == [False]
    assert await cell.scripts.retire("w1", epoch, old, "", "evict") == "needed"
    token = await cell.claim("w1", epoch, new)
    await cell.scripts.announce("w1", epoch, new, token, "device 1", {"min_copies": 1})
    await preload.run_once()
    assert await cell.scripts.retire("w1", epoch, new, "", "evict") == "needed"
    assert await cell.scripts.retire("w1", epoch, old, "", "evict") not in ("needed", "pinned")


async def test_a_version_that_cannot_be_loaded_takes_nothing_from_the_one_before(
    cell: Cell, preload: Preload, repository: FakeRepository
) -> None:
    """Its least number of copies is kept."""
    epoch, old = await cell.worker(), add(repository, "a", min_copies=1)
    await preload.run_once()
    token = await cell.claim("w1", epoch, old)
    await cell.scripts.announce("w1", epoch, old, token, "device 1", {"min_copies": 1})
    new = add(repository, "a", 2, min_copies=1)
    await cell.client.set(cell.keys.unloadable(new), "corrupt its hash", px=60_000)
    for _ in range(2):
        await preload.run_once()
    assert await ordered(cell, old, new) == [False, False]
    assert await cell.scripts.retire("w1", epoch, old, "", "evict") == "needed"


async def test_a_model_that_cannot_be_read_holds_up_no_other(
    cell: Cell, preload: Preload, repository: FakeRepository, caplog: pytest.LogCaptureFixture
) -> None:
    """It is passed over, and said once."""
    await cell.worker()
    refs = [add(repository, name, preload=True) for name in ("a", "b", "z")]
    repository.forbidden.add("b")
    for _ in range(3):
        await preload.run_once()
    assert await ordered(cell, *refs) == [True, False, True]
    assert len(caplog.messages) == 1


async def test_what_was_preloaded_once_may_be_evicted(
    cell: Cell, preload: Preload, repository: FakeRepository
) -> None:
    """It is not loaded again; what has a least number of copies is."""
    epoch = await cell.worker()
    once, always = add(repository, "a", preload=True), add(repository, "b", min_copies=1)
    await preload.run_once()
    for ref in (once, always):
        token = await cell.claim("w1", epoch, ref)
        await cell.scripts.announce("w1", epoch, ref, token, "device 1")
    await preload.run_once()
    for ref in (once, always):
        await cell.scripts.retire("w1", epoch, ref)
    await preload.run_once()
    assert await ordered(cell, once, always) == [False, True]


async def test_an_order_that_came_to_nothing_is_given_again_a_few_times(
    cell: Cell, preload: Preload, repository: FakeRepository
) -> None:
    """And not for ever: there may be more to preload than has room."""
    await cell.worker()
    ref, count = add(repository, "a", preload=True), 0
    for _ in range(TRIES + 2):
        await preload.run_once()
        count += bool(await cell.client.delete(cell.keys.load(ref)))
    assert count == TRIES


async def test_what_the_api_took_back_is_not_ordered(
    cell: Cell, preload: Preload, repository: FakeRepository
) -> None:
    """An unload is not undone by a gateway that starts."""
    await cell.worker()
    refs = add(repository, "a", preload=True), add(repository, "b", min_copies=2)
    await cell.scripts.set_policy(refs[0], {"preload": "0"})
    await cell.scripts.set_policy(refs[1], {"min_copies": "0"})
    await preload.run_once()
    assert await ordered(cell, *refs) == [False, False]


async def test_wishes_that_redis_lost_are_told_again(
    cell: Cell, preload: Preload, repository: FakeRepository
) -> None:
    """Copies are kept to a least number by the sweep, which knows only what Redis knows."""
    await cell.worker()
    ref = add(repository, "a", min_copies=1)
    await preload.run_once()
    await cell.client.delete(cell.keys.min_copies, cell.keys.stats(ref))
    await preload.run_once()
    assert await cell.client.smembers(cell.keys.min_copies) == {ref.encode()}


async def test_orders_wait_for_a_worker_and_for_a_short_queue(
    cell: Cell, preload: Preload, repository: FakeRepository
) -> None:
    """In the cold queue they would stand before the orders of requests."""
    refs = [add(repository, f"m{number:02}", preload=True) for number in range(2 * MAX_ORDERS)]
    running = asyncio.create_task(preload.run_once())
    await wait_until(lambda: repository.calls["read_manifest"])
    assert await cell.orders() == []
    epoch = await cell.worker(lease_ms=10 * LEASE_MS)
    await wait_until(lambda: long(cell, MAX_ORDERS))
    assert not running.done()
    for _ in refs:
        await wait_until(lambda: cell.client.llen(cell.keys.rq_queue()))
        assert len(await cell.orders()) <= MAX_ORDERS
        await cell.client.lpop(cell.keys.rq_queue())
    assert await running == len(refs)
    assert all(await ordered(cell, *refs)) and epoch


async def long(cell: Cell, length: int) -> bool:
    return len(await cell.orders()) == length


async def test_a_store_that_is_away_is_asked_again(
    cell: Cell, preload: Preload, repository: FakeRepository, caplog: pytest.LogCaptureFixture
) -> None:
    """It fails no loop, by which a gateway would not be ready; and says so once."""
    await cell.worker()
    add(repository, "a", preload=True)
    repository.error = StoreUnavailable("the store does not answer")
    for _ in range(3):
        assert await preload.run_once() == 0
    assert len(caplog.messages) == 1
    repository.error = None
    assert await preload.run_once() == 1


async def test_a_manifest_that_cannot_be_read_is_passed_over(
    cell: Cell, preload: Preload, repository: FakeRepository, caplog: pytest.LogCaptureFixture
) -> None:
    """Once and for all; the others are looked at."""
    await cell.worker()
    repository.manifests["broken", 1] = b"{"
    ref = add(repository, "good", preload=True)
    for _ in range(2):
        await preload.run_once()
    assert await ordered(cell, ref) == [True]
    assert len(caplog.messages) == 1


async def test_a_gateway_preloads_by_itself(cell: Cell, tmp_path: Path) -> None:
    """From its start on, without being in the way of it."""
    ref = publish_made_up(tmp_path, "bert", residency=Policy(preload=True))
    async with fleet_of(cell, tmp_path) as fleet:
        await fleet.worker()
        await wait_until(lambda: cell.token(ref))
