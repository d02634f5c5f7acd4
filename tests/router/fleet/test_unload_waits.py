"""An unload is done when nothing of the model runs any more, by the word of its workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from router.fleet import model_control
from tests.helpers.cell import Cell
from tests.helpers.fleet import Fleet, fleet_of, publish_made_up

UNLOAD = "/v2/repository/models/bert/unload"


@pytest.fixture
async def fleet(
    cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Fleet]:
    """A gateway whose repository has `bert`. It waits for what Redis says, also past a deadline."""
    monkeypatch.setattr(model_control, "LAST_LOOK_S", 60.0)
    publish_made_up(tmp_path, "bert")
    async with fleet_of(cell, tmp_path) as made:
        yield made


async def ref(fleet: Fleet) -> str:
    return str((await fleet.gateway.context.catalog.resolve("bert")).ref)


async def draining(fleet: Fleet) -> tuple[str, str]:
    """Worker w1 answers its last requests for a copy that it has retired: its epoch, the ref. No
    heartbeat has ever named that copy."""
    epoch, bert = await fleet.worker(), await ref(fleet)
    await fleet.have("w1", epoch, bert)
    await fleet.cell.scripts.retire("w1", epoch, bert)
    return epoch, bert


async def freed(fleet: Fleet, **headers: str) -> tuple[int, object]:
    """The status of an unload, and the workers that it names."""
    status, _, said = await fleet.ask("POST", UNLOAD, **headers)
    return status, said["versions"][0]["freed"] if status == 200 else said["error"]


async def test_it_waits_for_a_copy_that_drains_however_often_it_is_asked(fleet: Fleet) -> None:
    """The second call too, which finds no holder any more."""
    _, bert = await draining(fleet)
    late = "model bert version 1: w1 drains; it goes on"
    assert await freed(fleet, **{"Warmroute-Timeout": "0.05"}) == (504, late)
    asked = [asyncio.create_task(freed(fleet)) for _ in range(2)]
    await asyncio.sleep(0.1)
    assert not any(task.done() for task in asked)
    await fleet.cell.scripts.freed("w1", bert)
    assert await asyncio.gather(*asked) == [(200, ["w1"])] * 2
    assert await freed(fleet) == (200, [])


async def test_a_worker_that_has_died_drains_nothing(fleet: Fleet) -> None:
    """Nor does its successor under the same name."""
    await draining(fleet)
    asked = asyncio.create_task(freed(fleet))
    await asyncio.sleep(0.05)
    assert not asked.done()
    await fleet.worker()
    assert (await asked)[0] == 200


async def test_a_copy_that_is_loaded_again_is_not_waited_for(fleet: Fleet) -> None:
    """It takes requests, so it does not drain."""
    epoch, bert = await draining(fleet)
    asked = asyncio.create_task(freed(fleet))
    await asyncio.sleep(0.05)
    await fleet.have("w1", epoch, bert)
    assert (await asked)[0] == 200
    assert await fleet.cell.client.hexists(fleet.cell.keys.holders(bert), "w1")


async def test_a_draining_version_that_left_the_repository_is_waited_for(
    fleet: Fleet,
) -> None:
    """By the name of its model."""
    epoch, gone = await fleet.worker(), "gone:7:0123456789ab"
    await fleet.have("w1", epoch, gone)
    await fleet.cell.scripts.retire("w1", epoch, gone)
    asked = asyncio.create_task(fleet.ask("POST", "/v2/repository/models/gone/unload"))
    await asyncio.sleep(0.05)
    assert not asked.done()
    await fleet.cell.scripts.freed("w1", gone)
    assert (await asked)[0] == 200
