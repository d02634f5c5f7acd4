"""What a request without a version gets, and what becomes of newer versions meanwhile."""

from __future__ import annotations

import asyncio
import time

import pytest

from router.catalog import catalog, look, newest
from router.catalog.catalog import PATIENCE_S, Catalog
from shared.errors import Corrupt
from tests.helpers.cell import Cell
from tests.helpers.repository import FakeRepository
from tests.helpers.versions import NAME, World, world_of
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


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has asked for a while, each time."""
    monkeypatch.setattr(catalog, "GRACE_S", -1.0)


async def test_where_none_was_loaded_it_is_the_newest(world: World) -> None:
    """Its request loads it."""
    world.push(1)
    world.push(2)
    assert await world.served() == 2


async def test_where_none_was_loaded_it_is_none_that_has_just_failed(world: World) -> None:
    """Unless all have: then the newest, whose cause is told."""
    first, second = world.push(1), world.push(2)
    await world.cell.client.set(world.cell.keys.unloadable(second), "corrupt x", px=60_000)
    assert await world.served() == 1
    await world.cell.client.set(world.cell.keys.unloadable(first), "corrupt x", px=60_000)
    assert await Catalog(world.repository, 0.0, world.live).resolve(NAME) is not None
    await wait_until(lambda: world.serves(2))


async def test_a_newer_one_is_tried_beside_serving(world: World) -> None:
    """And served when a worker has loaded it; nobody waits for that."""
    await world.load(world.push(1))
    assert await world.served() == 1
    new = world.push(2)
    assert await world.served() == 1
    await world.carry_out(new)
    await wait_until(lambda: world.serves(2))


async def test_one_that_cannot_be_loaded_changes_nothing(world: World) -> None:
    """It is not ordered again as long as the cause stands."""
    await world.load(world.push(1))
    await world.served()
    new = world.push(2)
    await world.served()
    await world.carry_out(new, "corrupt its hash is wrong")
    for _ in range(20):
        assert await world.served() == 1
        await asyncio.sleep(0.005)
    assert await world.cell.token(new) == ""


async def test_of_several_that_are_newer_the_newest_is_tried_first(world: World) -> None:
    """If it fails, the next: a bad one on top of good ones keeps nobody from those."""
    await world.load(world.push(1))
    await world.served()
    good, bad = world.push(2), world.push(3)
    await world.served()
    await world.carry_out(bad, "corrupt its hash is wrong")
    await wait_until(lambda: _ordered_while_serving(world, good))
    await world.carry_out(good)
    await wait_until(lambda: world.serves(2))


async def test_a_manifest_that_cannot_be_read_is_passed_over(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Said once; who names it is told why."""
    world.push(1)
    world.repository.manifests[NAME, 2] = b"{"
    for _ in range(3):
        assert await world.served() == 1
        await asyncio.sleep(0.02)
    assert len(caplog.messages) == 1 and "version 2 is skipped" in caplog.text
    with pytest.raises(Corrupt):
        await world.catalog.resolve(NAME, 2)


async def test_where_no_manifest_can_be_read_the_newest_says_why(world: World) -> None:
    """Not that there is no such model."""
    world.repository.manifests[NAME, 1] = b"["
    world.repository.manifests[NAME, 2] = b"{"
    with pytest.raises(Corrupt, match="version 2"):
        await world.served()


@pytest.mark.usefixtures("idle")
async def test_requests_for_an_idle_model_wait_for_the_verdict(world: World) -> None:
    """All that come meanwhile; they get the new version if it is one."""
    await world.load(world.push(1))
    assert await world.served() == 1
    new = world.push(2)
    asking = [asyncio.create_task(world.served(PATIENCE_S)) for _ in range(5)]
    await wait_until(lambda: world.cell.token(new))
    later = asyncio.create_task(world.served(PATIENCE_S))
    await world.carry_out(new)
    assert await asyncio.gather(*asking, later) == [2] * 6


@pytest.mark.usefixtures("idle")
@pytest.mark.parametrize("cause", ["corrupt its hash is wrong", ""])
async def test_they_wait_no_longer_than_they_can(world: World, cause: str) -> None:
    """For a trial that fails, or one that takes long; then they get what is live."""
    await world.load(world.push(1))
    assert await world.served() == 1
    new = world.push(2)
    asking = asyncio.create_task(world.served(PATIENCE_S if cause else 0.3))
    if cause:
        await world.carry_out(new, cause)
    assert await asking == 1


async def test_requests_for_a_busy_model_do_not_wait(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the trial takes."""
    monkeypatch.setattr(catalog, "GRACE_S", 3600.0)
    await world.load(world.push(1))
    await world.served()
    new = world.push(2)
    await world.served()
    await wait_until(lambda: world.cell.token(new))
    begun = time.monotonic()
    for _ in range(50):
        assert await world.served(PATIENCE_S) == 1
    assert time.monotonic() - begun < PATIENCE_S / 2


@pytest.mark.usefixtures("idle")
async def test_a_store_that_hangs_holds_up_an_idle_model_once_and_briefly(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then what is known must do."""
    monkeypatch.setattr(look, "READ_S", 1.0)
    await world.load(world.push(1))
    assert await world.served() == 1
    world.repository.hold.clear()
    begun = time.monotonic()
    try:
        for _ in range(20):
            assert await world.served(PATIENCE_S) == 1
    finally:
        world.repository.hold.set()
    assert time.monotonic() - begun < 15 * look.READ_S


async def _ordered_while_serving(world: World, ref: str) -> bool:
    assert await world.served() == 1
    return bool(await world.cell.token(ref))
