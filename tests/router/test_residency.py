"""What the fleet holds, as people and readiness see it."""

from __future__ import annotations

import time

from router.residency import Residency
from shared.names import ModelRef
from tests.helpers.cell import Cell
from tests.helpers.factories import OTHER_REF, REF, placing


async def test_the_report_lists_workers_and_what_each_holds(cell: Cell) -> None:
    """In order, with tier, bytes, since when and the length of the queue."""
    await cell.worker("w2", holds=[OTHER_REF, REF])
    epoch = await cell.worker("w1")
    await cell.scripts.heartbeat("w1", epoch, "one", 10_000, 0, {"budget": 100, "used": 40})
    await cell.place(placing(), placing())
    first, second = (await Residency(cell.client, cell.keys).report())["workers"]
    assert first == {
        "id": "w1", "device": "cpu", "state": "ready", "budget_bytes": 100, "used_bytes": 40,
        "queue": 0, "models": [],
    }  # fmt: skip
    assert (second["id"], second["queue"]) == ("w2", 2)
    assert [(m["name"], m["version"], m["tier"], m["bytes"]) for m in second["models"]] == [
        ("bert", "2", "device", 1), ("mnist", "1", "device", 1)
    ]  # fmt: skip
    since = time.strptime(second["models"][0]["since"], "%Y-%m-%dT%H:%M:%SZ")
    assert since.tm_year >= 2024


async def test_an_empty_cell_has_an_empty_report(cell: Cell) -> None:
    """And is no error."""
    assert await Residency(cell.client, cell.keys).report() == {"workers": []}


async def test_a_worker_whose_lease_ran_out_is_not_shown(cell: Cell) -> None:
    """Nor counted as a holder."""
    await cell.worker("w1", holds=[REF])
    residency = Residency(cell.client, cell.keys)
    assert await residency.ready_anywhere(ModelRef.parse(REF))
    await cell.client.zadd(cell.keys.workers, {"w1": 0})
    assert await residency.live_workers() == []
    assert not await residency.ready_anywhere(ModelRef.parse(REF))


async def test_a_model_nobody_holds_is_cold(cell: Cell) -> None:
    """Also if another version of it is warm."""
    await cell.worker("w1", holds=[REF])
    residency = Residency(cell.client, cell.keys)
    assert not await residency.ready_anywhere(ModelRef.parse(OTHER_REF))
    assert not await residency.ready_anywhere(ModelRef("mnist", 2, "0123456789ab"))
