"""Floods of unknown names, and repositories of thousands of models: few reads, nothing lost."""

from __future__ import annotations

import asyncio
import time

import pytest

from router.catalog import known, listings
from router.catalog.catalog import Catalog
from shared.errors import Forbidden, NotFound, RepositoryError
from tests.helpers.factories import manifest
from tests.helpers.repository import FakeRepository
from tests.helpers.wait import wait_until

FLOOD = 20_000


@pytest.fixture
def repository() -> FakeRepository:
    """With 50 models."""
    made = FakeRepository()
    for number in range(50):
        made.add(manifest(name=f"m{number}"))
    return made


async def flood(catalog: Catalog, names: int, version: int = 0) -> set[type]:
    """The answers to so many unknown names, a thousand at a time."""
    found: set[type] = set()
    for start in range(0, names, 1000):
        asked = (catalog.resolve(f"nobody{n}", version) for n in range(start, start + 1000))
        answers = await asyncio.gather(*asked, return_exceptions=True)
        found |= {type(answer) for answer in answers}
    return found


def allowed(began: float) -> float:
    """Reads of single names since then."""
    return listings.SINGLE_BURST + listings.SINGLE_PER_S * (time.monotonic() - began) + 1


async def test_a_flood_of_unknown_names_pushes_out_no_model(repository: FakeRepository) -> None:
    """Models are found without a read afterwards, named versions too."""
    catalog = Catalog(repository, 600)
    for number in range(50):
        await catalog.resolve(f"m{number}")
        await catalog.resolve(f"m{number}", 1)
    assert await flood(catalog, FLOOD) == {NotFound}
    assert all(catalog.fresh(f"m{n}") and catalog.fresh(f"m{n}", 1) for n in range(50))


async def test_it_costs_the_store_a_bounded_number_of_reads(repository: FakeRepository) -> None:
    """Some names are listed by themselves, the others found in lists of everything."""
    catalog, began = Catalog(repository, 600), time.monotonic()
    await flood(catalog, FLOOD)
    singles, lists = (repository.calls[name] for name in ("list_versions", "list_all"))
    assert singles <= allowed(began)
    assert lists <= 2 * FLOOD // 1000 + 2


async def test_unknown_versions_of_a_model_are_bounded_too(repository: FakeRepository) -> None:
    """A named version is looked for in the list of its model first, when many are asked for."""
    catalog, began = Catalog(repository, 600), time.monotonic()
    asked = (catalog.resolve("m1", version) for version in range(2, 3000))
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(answer) for answer in answers} == {NotFound}
    assert repository.calls["read_manifest"] <= allowed(began)


async def test_a_name_is_unknown_for_a_short_while_only(
    repository: FakeRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long versions are cached."""
    monkeypatch.setattr(known, "UNKNOWN_S", 0.02)
    catalog = Catalog(repository, 600)
    with pytest.raises(NotFound):
        await catalog.resolve("late")
    repository.add(manifest(name="late"))

    async def is_found() -> bool:
        try:
            return (await catalog.resolve("late")).ref.name == "late"
        except NotFound:
            return False

    await wait_until(is_found)


async def test_a_new_model_is_found_at_once_in_a_flood(
    repository: FakeRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list that began before it was asked for does not count."""
    monkeypatch.setattr(listings, "SINGLE_BURST", 0)
    monkeypatch.setattr(listings, "SINGLE_PER_S", 0.0)
    catalog = Catalog(repository, 600)
    for number in range(5):
        repository.add(manifest(name=f"new{number}"))
        assert (await catalog.resolve(f"new{number}")).ref.version == 1


async def test_a_model_that_is_listed_is_found_without_another_list(
    repository: FakeRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are asked for the first time: they are none of a flood."""
    monkeypatch.setattr(listings, "SINGLE_BURST", 0)
    monkeypatch.setattr(listings, "SINGLE_PER_S", 0.0)
    catalog = Catalog(repository, 600)
    await catalog.index()
    for number in range(50):
        await catalog.resolve(f"m{number}", number % 2)
    assert repository.calls["list_all"] == 1


async def test_a_named_version_is_read_once(repository: FakeRepository) -> None:
    """It never changes; neither time nor requests without a version have it read again."""
    catalog = Catalog(repository, 0.0)
    for _ in range(50):
        await catalog.resolve("m1", 1)
        await asyncio.sleep(0.001)
    assert repository.calls == {"read_manifest": 1}


async def test_a_deleted_version_is_forgotten_when_the_repository_is_listed(
    repository: FakeRepository,
) -> None:
    """By its name, or with all others."""
    catalog = Catalog(repository, 0.0)
    for name in ("m1", "m2"):
        await catalog.resolve(name, 1)
        del repository.manifests[name, 1]
    await catalog.index()
    for name in ("m1", "m2"):
        with pytest.raises(NotFound):
            await catalog.resolve(name, 1)


async def test_thousands_of_models_are_listed_in_one_read(repository: FakeRepository) -> None:
    """Which is shared by all who ask within the life of the cache."""
    for number in range(2000):
        repository.add(manifest(name=f"n{number}"))
    catalog = Catalog(repository, 600)
    rows = await asyncio.gather(*(catalog.index() for _ in range(20)))
    assert {len(row) for row in rows} == {2050}
    assert len(await catalog.index()) == 2050
    assert repository.calls == {"list_all": 1}


async def test_busy_models_are_refreshed_by_lists_that_they_share(
    repository: FakeRepository,
) -> None:
    """Thousands of them cost no more than some do."""
    for number in range(2000):
        repository.add(manifest(name=f"n{number}"))
    catalog, began = Catalog(repository, 0.0), time.monotonic()
    for _ in range(3):
        await asyncio.gather(*(catalog.resolve(f"n{n}", patience_s=0) for n in range(2000)))
    await wait_until(lambda: not catalog._looks._looks)
    assert repository.calls["list_versions"] <= 2 * allowed(began)


async def test_a_model_that_cannot_be_listed_fails_alone(
    repository: FakeRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where all share one list."""
    monkeypatch.setattr(listings, "SINGLE_BURST", 0)
    monkeypatch.setattr(listings, "SINGLE_PER_S", 0.0)
    repository.forbidden.add("m7")
    catalog = Catalog(repository, 600)
    with pytest.raises(RepositoryError, match="leads out"):
        await catalog.resolve("m7")
    assert (await catalog.resolve("m8")).ref.name == "m8"
    repository.error = Forbidden("the store refused the credentials")
    with pytest.raises(Forbidden):
        await catalog.resolve("m9")
