"""What has left the repository is not kept, whoever asked for it."""

from __future__ import annotations

from typing import Any

import pytest

from router.catalog import view
from router.catalog.catalog import Catalog
from router.catalog.versions import LoadedVersions
from router.fleet.preload import Preload
from shared.manifest import ref_of
from shared.policy import Policy
from tests.helpers.cell import Cell
from tests.helpers.factories import manifest
from tests.helpers.repository import FakeRepository


@pytest.fixture
def preload(cell: Cell, repository: FakeRepository, monkeypatch: pytest.MonkeyPatch) -> Preload:
    """Of a gateway over a repository in memory, which is listed in each round."""
    monkeypatch.setattr(view, "PER_PAGE_S", 0.0)
    live = LoadedVersions(cell.channel, cell.keys, cell.scripts)
    return Preload(Catalog(repository, 0.0, live), cell.channel, cell.keys, cell.scripts)


def add(repository: FakeRepository, name: str, version: int = 1, **policy: Any) -> str:
    """Publish a version with a residency policy; its reference."""
    made = manifest(name=name, version=version, residency=Policy(**policy))
    return str(ref_of(made, repository.add(made)))


async def test_a_model_that_left_the_repository_is_wanted_no_more(
    cell: Cell, preload: Preload, repository: FakeRepository
) -> None:
    """Its copies may go."""
    epoch, ref = await cell.worker(), add(repository, "a", min_copies=1)
    await preload.run_once()
    token = await cell.claim("w1", epoch, ref)
    await cell.scripts.announce("w1", epoch, ref, token, "device 1")
    repository.manifests.clear()
    assert await preload.run_once() == 0
    assert await cell.scripts.retire("w1", epoch, ref, "", "evict") not in ("needed", "pinned")


@pytest.mark.parametrize("by_api", [True, False])
async def test_what_left_the_repository_is_not_pinned_any_more(
    cell: Cell, preload: Preload, repository: FakeRepository, by_api: bool
) -> None:
    """No call could remove that pin: neither a whole model's nor one version's, where the version
    before it counts again."""
    epoch = await cell.worker()
    refs = [add(repository, name, version) for name, version in (("a", 1), ("b", 1), ("b", 2))]
    await preload.run_once()
    for ref in refs:
        await cell.scripts.order_copy(ref)
        learned = {} if by_api else {"pin": 1}
        token = await cell.claim("w1", epoch, ref)
        await cell.scripts.announce("w1", epoch, ref, token, "device 1", learned)
        if by_api:
            await cell.scripts.set_policy(ref, {"pin": "1"})
    del repository.manifests["a", 1], repository.manifests["b", 2]
    await preload.run_once()
    for ref in (refs[0], refs[2]):
        assert await cell.scripts.retire("w1", epoch, ref, "", "evict") != "pinned"
    assert not await cell.exists(cell.keys.loaded_versions("a"))
    assert await cell.client.hkeys(cell.keys.loaded_versions("b")) == [b"1"]
