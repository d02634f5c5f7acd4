"""refuse_load for a model that would not fit an empty device: only larger ones are asked."""

from __future__ import annotations

from tests.helpers.cell import Cell
from tests.helpers.factories import REF, kept
from tests.lua.fleet import claim, lease, worker

MOST_REFUSED = 32


async def test_a_worker_with_as_small_a_budget_is_not_asked(cell: Cell) -> None:
    """The one that is larger gets it; when it is too small too, the load fails at once."""
    small = await worker(cell, "w1", budget_bytes=100)
    twin = await worker(cell, "w2", budget_bytes=100)
    large = await worker(cell, "w3", budget_bytes=200)
    await cell.place(kept())
    token = await cell.claim("w1", small)
    assert await cell.scripts.refuse_load("w1", REF, token, too_large=True) == "ordered"
    assert (await lease(cell))["larger"] == "100"
    assert await claim(cell, "w2", twin) == "refused"
    token = await cell.claim("w3", large)
    assert await cell.scripts.refuse_load("w3", REF, token, too_large=True) == "no_worker"


async def test_in_a_fleet_of_one_kind_the_first_refusal_is_the_last(cell: Cell) -> None:
    """However many workers there are: none of the others is larger."""
    epochs = [await worker(cell, f"w{number}", budget_bytes=100) for number in range(40)]
    await cell.place(kept())
    token = await cell.claim("w0", epochs[0])
    assert await cell.scripts.refuse_load("w0", REF, token, too_large=True) == "no_worker"


async def test_an_order_is_refused_by_so_many_workers_at_most(cell: Cell) -> None:
    """It fits them, but not just now: the load waits, and is ordered again later."""
    epochs = {f"w{n}": await worker(cell, f"w{n}", budget_bytes=100) for n in range(40)}
    await cell.place(kept())
    answers = []
    for name, epoch in list(epochs.items())[:MOST_REFUSED]:
        assert await claim(cell, name, epoch) == "claimed"
        answers.append(await cell.scripts.refuse_load(name, REF, await cell.token()))
    assert answers == ["ordered"] * (MOST_REFUSED - 1) + ["no_worker"]
