"""Versions that change, disappear or fail under a gateway that serves them."""

from __future__ import annotations

import asyncio

import pytest

from router.catalog import catalog, look, newest
from router.catalog.catalog import PATIENCE_S
from shared.errors import NotFound, StoreUnavailable
from tests.helpers.cell import Cell
from tests.helpers.repository import FakeRepository
from tests.helpers.versions import NAME, World, away, world_of
from tests.helpers.wait import wait_until


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read of the repository is waited for until it ends: it is not slow here."""
    for module in (catalog, look, newest):
        monkeypatch.setattr(module, "READ_S", 60.0)


@pytest.fixture
async def world(cell: Cell, repository: FakeRepository) -> World:
    """One that trusts nothing that it has read."""
    return await world_of(cell, repository)


async def test_the_first_request_after_a_pause_sees_what_is_new(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the second; explicit versions too: one that is deleted is not answered once more."""
    monkeypatch.setattr(catalog, "GRACE_S", 0.01)
    for version in (1, 2):
        await world.load(world.push(version))
    assert await world.served() == 2
    await world.catalog.resolve(NAME, 2)
    del world.repository.manifests[NAME, 2]
    await asyncio.sleep(0.05)
    assert await world.served(PATIENCE_S) == 1
    with pytest.raises(NotFound):
        await world.catalog.resolve(NAME, 2)


async def test_the_newest_that_is_left_takes_the_place_of_one_that_is_deleted(
    world: World,
) -> None:
    """And Redis forgets that one: what the older one asks to keep holds again."""
    for version in (1, 2):
        await world.load(world.push(version))
    assert await world.served() == 2
    del world.repository.manifests[NAME, 2]
    await wait_until(lambda: world.serves(1))
    assert list(await world.live.of(NAME)) == [1]


async def test_a_model_that_was_served_and_deleted_is_pinned_no_more(world: World) -> None:
    """Whether or not a round of the preload has seen it."""
    ref = world.push(1)
    await world.load(ref)
    await world.cell.scripts.set_policy(str(ref), {"pin": "1"})
    assert await world.served() == 1
    world.repository.manifests.clear()
    with pytest.raises(NotFound):
        await wait_until(lambda: world.serves(2))
    assert await world.live.of(NAME) == {}
    assert await world.cell.client.hgetall(world.cell.keys.policy(str(ref))) == {}


async def test_a_version_that_is_published_again_is_another(world: World) -> None:
    """It is tried like a new one; until then requests get what is live and still as it was."""
    await world.load(world.push(1))
    await world.load(world.push(2))
    assert await world.served() == 2
    again = world.push(2, licence="another")
    await wait_until(lambda: world.serves(1))
    await world.carry_out(again)
    await wait_until(lambda: world.serves(2))


async def test_what_was_live_stays_so_when_redis_has_lost_everything(world: World) -> None:
    """Until workers say it again: not a moment of another version."""
    await world.load(world.push(1))
    assert await world.served() == 1
    world.push(2)
    await world.cell.client.delete(world.cell.keys.loaded_versions(NAME))
    for _ in range(10):
        assert await world.served() == 1
        await asyncio.sleep(0.01)


async def test_one_that_cannot_be_loaded_any_more_gives_way_to_the_one_before(
    world: World,
) -> None:
    """It was live: its file is gone now."""
    for version in (1, 2):
        ref = world.push(version)
        await world.load(ref)
        await world.free(ref)
    assert await world.served() == 2
    await world.cell.scripts.order_copy(ref)
    await world.carry_out(ref, "blob_missing its file is gone")
    await wait_until(lambda: world.serves(1))


async def test_while_the_store_or_redis_is_away_what_is_known_is_served(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version that nobody can be asked about changes nothing."""
    await world.load(world.push(1))
    assert await world.served() == 1
    world.repository.error = StoreUnavailable("the store does not answer")
    for _ in range(5):
        assert await world.served() == 1
        await asyncio.sleep(0.01)
    world.repository.error = None
    world.push(2)
    monkeypatch.setattr(world.live, "of", away)
    for _ in range(5):
        assert await world.served() == 1
        await asyncio.sleep(0.01)


async def test_what_is_fresh_costs_no_question(
    cell: Cell, repository: FakeRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither to the store nor to Redis."""
    world = await world_of(cell, repository, ttl_s=60)
    await world.load(world.push(1))
    assert await world.served() == 1
    monkeypatch.setattr(world.live, "of", away)
    repository.error = StoreUnavailable("nobody should ask")
    assert world.catalog.fresh(NAME) == await world.catalog.resolve(NAME)
    assert world.catalog.fresh(NAME, 1) is not None and world.catalog.fresh(NAME, 2) is None
