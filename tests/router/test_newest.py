"""What a request without a version gets, and what becomes of newer versions meanwhile."""

from __future__ import annotations

import asyncio
import time

import pytest

from router import catalog as module
from router.catalog import PATIENCE_S, Catalog
from router.live_versions import LiveVersions
from shared.errors import Corrupt, NotFound, StoreUnavailable, Unavailable
from shared.manifest import ref_of
from tests.helpers.cell import LEASE_MS, Cell
from tests.helpers.factories import manifest
from tests.helpers.repository import FakeRepository
from tests.helpers.wait import wait_until

NAME = "mnist"


class World:
    """A gateway's catalog over a repository in memory, and a worker that the tests play."""

    def __init__(self, cell: Cell, repository: FakeRepository, ttl_s: float = 0.0) -> None:
        self.cell, self.repository = cell, repository
        self.live = LiveVersions(cell.channel, cell.keys, cell.scripts)
        self.catalog = Catalog(repository, ttl_s, self.live)
        self.epoch = ""

    def push(self, version: int, **changes: object) -> str:
        made = manifest(version=version, **changes)
        return str(ref_of(made, self.repository.add(made)))

    async def load(self, ref: str) -> None:
        """The worker holds it."""
        await self.cell.scripts.announce("w1", self.epoch, ref, "", "device 1")

    async def free(self, ref: str) -> None:
        await self.cell.scripts.retire("w1", self.epoch, ref)

    async def carry_out(self, ref: str, cause: str = "") -> None:
        """The order that was given for it, with success or for a `cause`."""
        await wait_until(lambda: self.cell.token(ref))
        token = await self.cell.claim("w1", self.epoch, ref)
        if cause:
            await self.cell.scripts.fail_load("w1", ref, token, cause.encode(), 60_000)
        else:
            await self.cell.scripts.announce("w1", self.epoch, ref, token, "device 1")

    async def served(self, patience_s: float = 0.0) -> int:
        return (await self.catalog.resolve(NAME, patience_s=patience_s)).ref.version


@pytest.fixture
async def world(cell: Cell, repository: FakeRepository) -> World:
    """One that trusts nothing that it has read."""
    made = World(cell, repository)
    made.epoch = await cell.worker("w1", lease_ms=10 * LEASE_MS)
    return made


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has asked for a while, each time."""
    monkeypatch.setattr(module, "GRACE_S", -1.0)


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
    await wait_until(lambda: _serves(world, 2))


async def test_a_newer_one_is_tried_beside_serving(world: World) -> None:
    """And served when a worker has loaded it; nobody waits for that."""
    await world.load(world.push(1))
    assert await world.served() == 1
    new = world.push(2)
    assert await world.served() == 1
    await world.carry_out(new)
    await wait_until(lambda: _serves(world, 2))


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
    await wait_until(lambda: _serves(world, 2))


async def test_a_manifest_that_cannot_be_read_is_passed_over(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Said once; who names it is told why."""
    world.push(1)
    world.repository.manifests[NAME, 2] = b"{"
    for _ in range(3):
        assert await world.served() == 1
        await asyncio.sleep(0.02)
    assert len(caplog.messages) == 1 and "version 2 is passed over" in caplog.text
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


async def test_requests_for_a_busy_model_do_not_wait(world: World) -> None:
    """However long the trial takes."""
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
async def test_a_store_that_hangs_holds_up_an_idle_model_once_and_briefly(world: World) -> None:
    """Then what is known must do."""
    await world.load(world.push(1))
    assert await world.served() == 1
    world.repository.hold.clear()
    begun = time.monotonic()
    try:
        for _ in range(20):
            assert await world.served(PATIENCE_S) == 1
    finally:
        world.repository.hold.set()
    assert time.monotonic() - begun < PATIENCE_S / 2


async def test_the_first_request_after_a_pause_sees_what_is_new(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the second; explicit versions too: one that is deleted is not answered once more."""
    monkeypatch.setattr(module, "GRACE_S", 0.01)
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
    await wait_until(lambda: _serves(world, 1))
    assert list(await world.live.of(NAME)) == [1]


async def test_a_version_that_is_published_again_is_another(world: World) -> None:
    """It is tried like a new one; until then requests get what is live and still as it was."""
    await world.load(world.push(1))
    await world.load(world.push(2))
    assert await world.served() == 2
    again = world.push(2, licence="another")
    await wait_until(lambda: _serves(world, 1))
    await world.carry_out(again)
    await wait_until(lambda: _serves(world, 2))


async def test_what_was_live_stays_so_when_redis_has_lost_everything(world: World) -> None:
    """Until workers say it again: not a moment of another version."""
    await world.load(world.push(1))
    assert await world.served() == 1
    world.push(2)
    await world.cell.client.delete(world.cell.keys.live(NAME))
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
    await wait_until(lambda: _serves(world, 1))


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
    monkeypatch.setattr(world.live, "of", _away)
    for _ in range(5):
        assert await world.served() == 1
        await asyncio.sleep(0.01)


async def test_what_is_fresh_costs_no_question(
    cell: Cell, repository: FakeRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither to the store nor to Redis."""
    world = World(cell, repository, ttl_s=60)
    world.epoch = await cell.worker()
    await world.load(world.push(1))
    assert await world.served() == 1
    monkeypatch.setattr(world.live, "of", _away)
    repository.error = StoreUnavailable("nobody should ask")
    assert world.catalog.fresh(NAME) == await world.catalog.resolve(NAME)
    assert world.catalog.fresh(NAME, 1) is None


async def _away(name: str) -> dict[int, str]:
    raise Unavailable("Redis does not answer")


async def _serves(world: World, version: int) -> bool:
    return await world.served() == version


async def _ordered_while_serving(world: World, ref: str) -> bool:
    assert await world.served() == 1
    return bool(await world.cell.token(ref))
