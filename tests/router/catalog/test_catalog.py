"""The catalog: manifests are read once for a while, by few at a time, and unknown ones too."""

from __future__ import annotations

import asyncio
import gc
import weakref
from contextlib import suppress

import pytest

from router.catalog.catalog import QUICK_READS, Catalog
from shared.errors import Corrupt, InvalidInput, NotFound, StoreUnavailable
from shared.manifest import digest_of
from shared.repository import Listed
from tests.helpers.factories import manifest
from tests.helpers.repository import FakeRepository
from tests.helpers.wait import wait_until


async def test_the_latest_version_is_the_highest(repository: FakeRepository) -> None:
    """A version can be asked for too."""
    raws = {version: repository.add(manifest(version=version)) for version in (2, 10, 9)}
    catalog = Catalog(repository, 60)
    assert (await catalog.resolve("mnist")).ref.version == 10
    entry = await catalog.resolve("mnist", 2)
    assert entry.manifest == manifest(version=2)
    assert entry.ref.digest == digest_of(raws[2])


async def test_what_was_read_is_kept_for_a_while(repository: FakeRepository) -> None:
    """And asked again afterwards: a new version is seen."""
    repository.add(manifest(version=1))
    catalog = Catalog(repository, 0.05)
    for _ in range(10):
        await catalog.resolve("mnist")
    assert repository.calls["read_manifest"] == 1
    repository.add(manifest(version=2))

    async def sees_the_new_one() -> bool:
        return (await catalog.resolve("mnist")).ref.version == 2

    await wait_until(sees_the_new_one)


@pytest.mark.parametrize(("name", "version"), [("nobody", 0), ("nobody", 1), ("mnist", 7)])
async def test_what_does_not_exist_is_not_found_and_remembered(
    repository: FakeRepository, name: str, version: int
) -> None:
    """The message names it; the store is asked once."""
    repository.add(manifest())
    catalog = Catalog(repository, 60)
    for _ in range(5):
        with pytest.raises(NotFound, match=name):
            await catalog.resolve(name, version)
    assert repository.calls.total() == 1


async def test_a_refusal_that_is_remembered_keeps_nothing_of_its_callers(
    repository: FakeRepository,
) -> None:
    """Their requests, with bodies of megabytes, are freed at once."""
    catalog, bodies = Catalog(repository, 60), []

    class Body:
        """What a caller holds while it asks."""

    async def caller() -> None:
        body = Body()
        bodies.append(weakref.ref(body))
        await catalog.resolve("nobody")

    for _ in range(3):
        with suppress(NotFound):
            await caller()
    await asyncio.sleep(0)  # what runs in this turn of the loop holds on to what woke it
    gc.collect()
    assert [body() for body in bodies] == [None] * 3


@pytest.mark.parametrize("name", ["..", "a/b", "", "a" * 10_000, "a\nb", "blobs", "ä"])
async def test_a_bad_name_is_refused_without_asking_the_store(
    repository: FakeRepository, name: str
) -> None:
    """By resolve and by versions."""
    catalog = Catalog(repository, 60)
    with pytest.raises(InvalidInput, match="model name"):
        await catalog.resolve(name)
    with pytest.raises(InvalidInput, match="model name"):
        await catalog.versions(name)
    assert repository.calls.total() == 0


async def test_a_store_that_does_not_answer_is_asked_again(repository: FakeRepository) -> None:
    """Its error is told, and not remembered."""
    repository.add(manifest())
    repository.error = StoreUnavailable("the store does not answer")
    catalog = Catalog(repository, 60)
    with pytest.raises(StoreUnavailable):
        await catalog.resolve("mnist")
    repository.error = None
    assert (await catalog.resolve("mnist")).ref.version == 1


async def test_a_broken_manifest_is_corrupt(repository: FakeRepository) -> None:
    """Also one under another model's name."""
    repository.manifests["mnist", 1] = b"{"
    repository.manifests["other", 1] = manifest().encode()
    catalog = Catalog(repository, 60)
    for name in ("mnist", "other"):
        with pytest.raises(Corrupt, match=f"manifest of {name}"):
            await catalog.resolve(name)


async def test_callers_of_one_name_share_one_lookup(repository: FakeRepository) -> None:
    """A burst for a new model is one question to the store."""
    repository.add(manifest())
    repository.hold.clear()
    catalog = Catalog(repository, 60)
    callers = [asyncio.create_task(catalog.resolve("mnist", 1)) for _ in range(100)]
    await wait_until(lambda: repository.inside == 1)
    repository.hold.set()
    entries = await asyncio.gather(*callers)
    assert len({id(entry) for entry in entries}) == 1
    assert repository.calls["read_manifest"] == 1


async def test_a_caller_that_goes_away_does_not_stop_the_others(
    repository: FakeRepository,
) -> None:
    """The shared lookup goes on."""
    repository.add(manifest())
    repository.hold.clear()
    catalog = Catalog(repository, 60)
    first, second = (asyncio.create_task(catalog.resolve("mnist")) for _ in range(2))
    await wait_until(lambda: repository.inside == 1)
    first.cancel()
    repository.hold.set()
    assert (await second).ref.version == 1


async def test_a_flood_of_unknown_names_does_not_flood_the_store(
    repository: FakeRepository,
) -> None:
    """Only so many lookups run at once."""
    repository.hold.clear()
    catalog = Catalog(repository, 60)
    callers = [asyncio.create_task(catalog.resolve(f"n{n}")) for n in range(100)]
    await wait_until(lambda: repository.inside > 0)
    repository.hold.set()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert {type(answer) for answer in answers} == {NotFound}
    assert repository.most_inside <= QUICK_READS


async def test_the_index_lists_every_model_with_its_versions(repository: FakeRepository) -> None:
    """Ascending."""
    for name, version in (("b", 2), ("a", 1), ("b", 1)):
        repository.add(manifest(name=name, version=version))
    catalog = Catalog(repository, 60)
    assert await catalog.index() == [Listed("a", (1,)), Listed("b", (1, 2))]
    assert await catalog.versions("nobody") == []


async def test_a_model_that_cannot_be_read_is_listed_with_the_reason(
    repository: FakeRepository,
) -> None:
    """The others are listed as ever; a store that is away lists nothing."""
    for name in ("a", "b", "c"):
        repository.add(manifest(name=name))
    repository.forbidden.add("b")
    rows = await Catalog(repository, 60).index()
    assert [(row.name, row.versions) for row in rows] == [("a", (1,)), ("b", ()), ("c", (1,))]
    assert [bool(row.error) for row in rows] == [False, True, False]
    repository.error = StoreUnavailable("the store does not answer")
    with pytest.raises(StoreUnavailable):
        await Catalog(repository, 60).index()
