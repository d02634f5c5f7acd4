"""F59, the gateway's part: while the store is away, what is known goes on being served."""

from __future__ import annotations

import pytest

from router.catalog import catalog as module
from router.catalog.catalog import Catalog
from shared.errors import StoreUnavailable
from tests.helpers.factories import manifest
from tests.helpers.repository import FakeRepository
from tests.helpers.wait import wait_until


@pytest.fixture
def repository() -> FakeRepository:
    made = FakeRepository()
    made.add(manifest())
    return made


async def test_what_is_known_is_served_while_the_store_is_away(
    repository: FakeRepository,
) -> None:
    """Long after it would have been asked again; and each time it is asked, in case it is back."""
    catalog = Catalog(repository, ttl_s=0)
    known = await catalog.resolve("mnist")
    repository.error = StoreUnavailable("the store does not answer")
    asked = repository.calls["list_versions"]
    for _ in range(5):
        assert await catalog.resolve("mnist") == known
    await wait_until(lambda: repository.calls["list_versions"] > asked)
    with pytest.raises(StoreUnavailable):
        await catalog.resolve("bert")
    repository.error = None
    repository.add(manifest(version=2))
    await wait_until(lambda: _version(catalog, 2))


async def test_a_store_that_hangs_holds_nobody_up(repository: FakeRepository) -> None:
    """It is asked beside serving."""
    catalog = Catalog(repository, ttl_s=0)
    known = await catalog.resolve("mnist")
    repository.hold.clear()
    try:
        for _ in range(5):
            assert await catalog.resolve("mnist") == known
    finally:
        repository.hold.set()


async def test_what_nobody_asked_for_in_a_long_while_is_served_too(
    repository: FakeRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its caller waits for the store first, and gets what is known when that does not answer."""
    monkeypatch.setattr(module, "GRACE_S", -1.0)
    catalog = Catalog(repository, ttl_s=0)
    known = await catalog.resolve("mnist")
    repository.error = StoreUnavailable("the store does not answer")
    assert await catalog.resolve("mnist") == known


async def _version(catalog: Catalog, version: int) -> bool:
    return (await catalog.resolve("mnist")).manifest.version == version
