"""What a worker fails is its own fault only if others like it can do it (I39)."""

from __future__ import annotations

import pytest

from shared.channel import Channel
from shared.keys import Keys
from tests.helpers.cell import LEASE_MS, Cell
from tests.helpers.factories import OTHER_REF, REF
from worker.health.elsewhere import Elsewhere, is_well, loaded_since
from worker.health.failure_row import Unexplained

CALLS = Unexplained(False, (REF, OTHER_REF), 9, 400.0)
LOADS = CALLS._replace(loads=True)


@pytest.fixture
async def elsewhere(cell: Cell) -> Elsewhere:
    """As w1, of class `cpu`, sees it; it holds both models itself."""
    await member(cell, "w1", REF, OTHER_REF)
    return Elsewhere(cell.channel, cell.keys, "w1", "cpu")


async def member(cell: Cell, name: str, *holds: str, **report: str) -> None:
    """A worker with this report."""
    fields = {"state": "ready", "device_class": "cpu", **report}
    epoch = await cell.scripts.register(name, LEASE_MS, 3, fields)
    for ref in holds:
        await cell.scripts.announce(name, epoch, ref, "", "device 1")


async def test_it_names_what_a_healthy_worker_like_this_one_holds(
    cell: Cell, elsewhere: Elsewhere
) -> None:
    """Its own copies prove nothing."""
    assert await elsewhere.served(CALLS) == []
    await member(cell, "w2", REF)
    assert await elsewhere.served(CALLS) == await elsewhere.served(LOADS) == [REF]
    await member(cell, "w3", OTHER_REF)
    assert await elsewhere.served(CALLS) == [REF, OTHER_REF]


@pytest.mark.parametrize(
    "report",
    [
        {"device_class": "h100"}, {"health": "suspect"}, {"health": "sick"},
        {"state": "draining"}, {"failing": f'["{REF}"]'},
    ],
    ids=str,
)  # fmt: skip
async def test_others_that_are_no_better_or_unlike_this_one_prove_nothing(
    cell: Cell, elsewhere: Elsewhere, report: dict[str, str]
) -> None:
    """So the last healthy worker of a class stays."""
    await member(cell, "w2", REF, **report)
    assert await elsewhere.served(CALLS) == []


async def test_nor_does_one_whose_lease_has_ended(cell: Cell, elsewhere: Elsewhere) -> None:
    """It may be dead."""
    await member(cell, "w2", REF)
    await cell.client.zadd(cell.keys.workers, {"w2": 1})
    assert await elsewhere.served(CALLS) == []


async def test_of_failed_loads_an_old_copy_proves_nothing(cell: Cell, elsewhere: Elsewhere) -> None:
    """What the store gave yesterday it may refuse to everybody now."""
    await member(cell, "w2", REF)
    await cell.client.hset(cell.keys.holders(REF), "w2", "device 1 1000")
    assert await elsewhere.served(LOADS) == [] and await elsewhere.served(CALLS) == [REF]


async def test_without_an_answer_nothing_is_proved() -> None:
    """Redis is away."""
    nobody = Channel("redis://127.0.0.1:1/0")
    assert await Elsewhere(nobody, Keys(), "w1", "cpu").served(CALLS) == []
    await nobody.aclose()


def test_what_is_read_of_others() -> None:
    """The words of the map and of `unhealthy`; unknown ones are healthy."""
    assert loaded_since("device 7 5000", 6000, 1.0) and not loaded_since("device 7 4999", 6000, 1.0)
    assert is_well("", REF) and is_well(f"healthy {OTHER_REF}", REF) and is_well("newer", REF)
    assert not (is_well("suspect", REF) or is_well("sick x", REF) or is_well(f"healthy {REF}", REF))
