"""What has left the repository while no gateway looked is not kept for ever."""

from __future__ import annotations

import pytest

from router.catalog.catalog import Catalog
from router.fleet.left_models import LeftModels
from shared.errors import StoreUnavailable
from shared.manifest import ref_of
from shared.policy import Policy
from tests.helpers.cell import Cell
from tests.helpers.factories import manifest
from tests.helpers.repository import FakeRepository


def add(repository: FakeRepository, name: str, version: int = 1) -> str:
    made = manifest(name=name, version=version, residency=Policy(pin=True))
    return str(ref_of(made, repository.add(made)))


async def pinned(cell: Cell, *refs: str) -> list[bool]:
    """Which of them are kept."""
    return [await cell.client.hget(cell.keys.stats(ref), "pin") == b"1" for ref in refs]


async def holding(cell: Cell, *refs: str, worker: str = "w1") -> None:
    """A worker that holds them, pinned by their manifests."""
    await cell.worker(worker, holds=refs)
    for ref in refs:
        await cell.client.hset(cell.keys.stats(ref), "pin", "1")
        await cell.client.pexpire(cell.keys.stats(ref), 60_000)


@pytest.fixture
def left(cell: Cell, repository: FakeRepository) -> LeftModels:
    """Of a gateway that has just started."""
    return LeftModels(cell.channel, cell.keys, cell.scripts, Catalog(repository, 0.0))


async def test_a_model_that_was_deleted_before_the_gateway_started_is_let_go(
    cell: Cell, repository: FakeRepository, left: LeftModels
) -> None:
    """And so is a version of a model that has others. What is there keeps its pin."""
    gone, old, new = add(repository, "gone"), add(repository, "a", 1), add(repository, "a", 2)
    await holding(cell, gone, old, new)
    await cell.client.sadd(cell.keys.holds("w1"), "of another release")
    repository.delete_manifest("gone", 1)
    repository.delete_manifest("a", 1)
    assert await left.run_once() == 2
    assert await pinned(cell, gone, old, new) == [False, False, True]
    assert await left.run_once() == 0


async def test_a_store_that_is_away_lets_nothing_go(
    cell: Cell, repository: FakeRepository, left: LeftModels
) -> None:
    """Nor does a model that was published after the last listing."""
    ref = add(repository, "a")
    await holding(cell, ref)
    assert await left.run_once() == 0
    late = add(repository, "late")
    await holding(cell, late, worker="w2")
    assert await left.run_once() == 0
    repository.error = StoreUnavailable("away")
    assert await left.run_once() == 0
    assert await pinned(cell, ref, late) == [True, True]
