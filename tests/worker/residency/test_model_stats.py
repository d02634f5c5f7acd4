"""What the cell knows of a model before it is loaded here."""

from __future__ import annotations

import pytest

from shared.policy import Policy
from tests.helpers.cell import Cell
from tests.helpers.factories import REF, manifest
from worker.residency.model_stats import ModelStats, ModelStatsReader


@pytest.fixture
def stats(cell: Cell) -> ModelStatsReader:
    """Of CPU workers."""
    return ModelStatsReader(cell.channel, cell.keys, "cpu")


async def test_of_an_unknown_model_the_manifest_is_all_there_is(stats: ModelStatsReader) -> None:
    """Its policy is the manifest's, its bytes are not known."""
    given = manifest(residency=Policy(priority=2))
    assert await stats.read([(REF, given)]) == [ModelStats(Policy(priority=2), None, 0)]


async def test_the_api_overrides_single_fields(cell: Cell, stats: ModelStatsReader) -> None:
    """The others stay as the manifest has them."""
    await cell.scripts.set_policy(REF, {"pin": "1", "idle_ttl_s": "2.5"})
    (found,) = await stats.read([(REF, manifest(residency=Policy(priority=2)))])
    assert found.policy == Policy(priority=2, pin=True, idle_ttl_s=2.5)
    await cell.client.delete(cell.keys.policy(REF))


async def test_bytes_are_those_of_this_device_class(cell: Cell, stats: ModelStatsReader) -> None:
    """A copy on a GPU takes others."""
    await cell.client.hset(cell.keys.stats(REF), mapping={"own:cpu": 70, "own:GPU": 90})
    await cell.client.expire(cell.keys.stats(REF), 60)
    (found,) = await stats.read([(REF, manifest())])
    assert found.own_bytes == 70


async def test_what_cannot_be_read_counts_as_not_known(cell: Cell, stats: ModelStatsReader) -> None:
    """Whoever wrote it there."""
    await cell.client.hset(cell.keys.stats(REF), "own:cpu", "many")
    await cell.client.expire(cell.keys.stats(REF), 60)
    await cell.scripts.set_policy(REF, {"priority": "high", "colour": "1", "pin": "1"})
    (found,) = await stats.read([(REF, manifest())])
    assert found == ModelStats(Policy(pin=True), None, 0)
    await cell.client.delete(cell.keys.policy(REF))
