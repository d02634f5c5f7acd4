"""A repository that takes long for one model, for many, or for its list: nobody else waits."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from router.catalog import catalog as module
from router.catalog import newest, slots
from router.catalog.catalog import LATEST, Catalog, SlowStore
from shared.errors import StoreUnavailable, Unavailable
from tests.helpers.cell import Cell
from tests.helpers.factories import manifest
from tests.helpers.slow_repository import LIST, SlowRepository
from tests.helpers.versions import NAME, world_of
from tests.helpers.wait import wait_until


@pytest.fixture
def repository() -> Iterator[SlowRepository]:
    """With one model, `mnist`."""
    made = SlowRepository()
    made.add(manifest())
    yield made
    made.let_go()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call counts as slow after a moment."""
    monkeypatch.setattr(slots, "SLOW_AFTER_S", 0.02)


@pytest.mark.parametrize("version", [LATEST, 1])
async def test_nobody_waits_longer_than_its_deadline(
    repository: SlowRepository, version: int
) -> None:
    """Each caller by its own; the read goes on, and the next one has its result."""
    repository.slow = {NAME}
    catalog, began = Catalog(repository, 60), time.monotonic()
    patient = asyncio.create_task(catalog.resolve(NAME, version))
    with pytest.raises(SlowStore, match=NAME):
        await catalog.resolve(NAME, version, within_s=0.05)
    assert time.monotonic() - began < 20
    repository.let_go()
    assert (await patient).ref.name == NAME
    assert catalog.fresh(NAME, version) is not None


@pytest.mark.parametrize("ask", ["versions", "index", "read", "look_into"])
async def test_who_has_no_deadline_waits_for_a_limited_time(
    repository: SlowRepository, ask: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists, metadata and orders too."""
    monkeypatch.setattr(module, "LONGEST_S", 0.05)
    repository.slow = {NAME, LIST}
    catalog = Catalog(repository, 60)
    calls = {
        "versions": lambda: catalog.versions(NAME), "index": catalog.index,
        "read": lambda: catalog.read(NAME, 1), "look_into": lambda: catalog.look_into(NAME, 1),
    }  # fmt: skip
    with pytest.raises(SlowStore):
        await calls[ask]()


async def test_slow_models_do_not_delay_the_lookups_of_others(repository: SlowRepository) -> None:
    """Far more of them than are read at a time."""
    repository.slow = {f"slow{n}" for n in range(3 * module.QUICK_READS)}
    catalog = Catalog(repository, 60)
    waiting = [asyncio.create_task(catalog.resolve(name, 1)) for name in repository.slow]
    await wait_until(lambda: len(repository.waiting) == len(repository.slow))
    assert (await catalog.resolve(NAME)).ref.name == NAME
    repository.let_go()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_slow_list_delays_no_lookup(repository: SlowRepository) -> None:
    """It has a slot of its own."""
    repository.slow = {LIST}
    catalog = Catalog(repository, 60)
    listing = asyncio.create_task(catalog.index())
    await wait_until(lambda: repository.waiting == [LIST])
    assert (await catalog.resolve(NAME)).ref.version == 1
    repository.let_go()
    assert len(await listing) == 1


async def test_slow_lookups_delay_no_list_and_no_preload(repository: SlowRepository) -> None:
    """Not even more of them than there are slots."""
    most = module.QUICK_READS + module.SLOW_READS
    repository.slow = {f"slow{n}" for n in range(2 * most)}
    catalog = Catalog(repository, 60)
    waiting = [asyncio.create_task(catalog.resolve(name, 1)) for name in repository.slow]
    await wait_until(lambda: len(repository.waiting) == most)
    assert len(await catalog.index()) == 1
    assert (await catalog.look_into(NAME, 1)).ref.name == NAME
    repository.let_go()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_what_is_known_is_served_at_once_while_its_read_takes_long(
    repository: SlowRepository,
) -> None:
    """Also when that has been going on for long."""
    catalog = Catalog(repository, 0.0)
    known = await catalog.resolve(NAME)
    repository.slow = {NAME}
    for _ in range(20):
        assert await catalog.resolve(NAME) == known
    await wait_until(lambda: repository.waiting)
    assert await catalog.at_hand(NAME, LATEST, 0.0, 60.0) == known


async def test_a_newer_version_whose_manifest_is_slow_is_no_outage(
    cell: Cell, repository: SlowRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loaded one is served by a gateway that has seen neither before."""
    monkeypatch.setattr(newest, "READ_S", 0.05)
    world = await world_of(cell, repository)
    await world.load(world.push(1))
    new = world.push(2)
    repository.slow = {f"{NAME}:2"}
    assert (await world.catalog.resolve(NAME, within_s=10)).ref.version == 1
    repository.let_go()

    async def is_tried() -> object:
        await world.served()
        return await world.cell.token(new)

    await wait_until(is_tried)


async def test_a_request_that_must_not_wait_is_told_to_come_again(
    repository: SlowRepository,
) -> None:
    """In a moment, however long the repository takes; then with its answer, or its error."""
    repository.slow = {NAME, "bert"}
    catalog, began = Catalog(repository, 60), time.monotonic()
    for _ in range(20):
        with pytest.raises(Unavailable, match=NAME):
            await catalog.at_hand(NAME, LATEST, 0.0, 60.0)
    assert time.monotonic() - began < 20
    assert repository.calls.total() <= 1
    repository.let_go()

    async def has_it() -> bool:
        try:
            return (await catalog.at_hand(NAME, LATEST, 0.0, 60.0)).ref.name == NAME
        except Unavailable:
            return False

    await wait_until(has_it)


class Once(set[str]):
    """Names that are slow the first time that they are asked for."""

    def __contains__(self, name: object) -> bool:
        found = super().__contains__(name)
        self.discard(str(name))
        return found


@pytest.mark.parametrize("version", [LATEST, 1])
async def test_a_look_that_hangs_is_made_again_and_the_first_answer_holds(
    repository: SlowRepository, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For all who share it: the store is quick again, and one connection stays dead."""
    monkeypatch.setattr(slots, "AGAIN_AFTER_S", 0.1)
    repository.slow = Once({NAME})
    catalog = Catalog(repository, 60)
    first = asyncio.create_task(catalog.resolve(NAME, version))
    await wait_until(lambda: bool(repository.waiting))
    assert (await catalog.resolve(NAME, version)).ref.name == NAME
    assert (await first).ref.name == NAME and repository.waiting == [NAME]


@pytest.mark.parametrize("slots_left", [0, 1])
async def test_of_two_calls_that_the_store_does_not_answer_one_error_is_left(
    monkeypatch: pytest.MonkeyPatch, slots_left: int
) -> None:
    """That of the last; one that found no slot until then is not made any more."""
    monkeypatch.setattr(slots, "AGAIN_AFTER_S", 0.05)
    go, calls = threading.Event(), []

    def call() -> int:
        calls.append(1)
        go.wait(20)
        raise StoreUnavailable("no answer")

    limited = slots.Slots(1 + slots_left)
    running = asyncio.create_task(limited.run(call))
    await wait_until(lambda: len(calls) == 1 + slots_left)
    done, _ = await asyncio.wait([running], timeout=0.2)
    assert not done
    go.set()
    if slots_left:
        with pytest.raises(StoreUnavailable):
            await running
    else:
        running.cancel()
    assert await limited.run(lambda: 7) == 7
