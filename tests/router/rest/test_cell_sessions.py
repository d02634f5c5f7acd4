"""Sessions whose models are in two cells: all or none, kept and closed as a whole."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.helpers.cells import HOMES, Fleet, send, two_cells
from tests.helpers.gateway import RunningGateway

SESSIONS = "/v2/sessions"
BOTH = {"models": list(HOMES.values()), "id": "s1"}


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    """Cells a and b."""
    async with two_cells(tmp_path) as made:
        yield made


@pytest.fixture
async def gateway(fleet: Fleet) -> AsyncIterator[RunningGateway]:
    """Over both cells, each with a worker that has memory for a model."""
    for cell in fleet.cells.values():
        epoch = await cell.worker("w1", lease_ms=600_000)
        beat = {"state": "ready", "budget_bytes": str(1 << 30), "device_name": "cpu"}
        await cell.client.hset(cell.keys.worker("w1"), mapping={**beat, "epoch": epoch})
    async with fleet.gateway() as running:
        yield running


async def parts(fleet: Fleet) -> list[str]:
    """The cells that have a part of session s1."""
    found = []
    for name, cell in fleet.cells.items():
        if await cell.client.zscore(cell.keys.sessions, "s1") is not None:
            found.append(name)
    return found


async def test_a_session_has_a_part_in_each_cell_of_its_models(
    fleet: Fleet, gateway: RunningGateway
) -> None:
    status, document = await send(gateway, "POST", SESSIONS, BOTH)
    assert status == 201, document
    assert {row["name"] for row in document["models"]} == set(HOMES.values())
    assert await parts(fleet) == ["a", "b"]
    assert (await send(gateway, "POST", SESSIONS, BOTH))[0] == 200
    rows = (await send(gateway, "GET", SESSIONS))[1]["sessions"]
    assert [(row["id"], row["cell"]) for row in rows] == [("s1", "a"), ("s1", "b")]
    status, kept = await send(gateway, "POST", f"{SESSIONS}/s1/heartbeat", {"ttl_s": 500})
    assert (status, kept["id"]) == (200, "s1")
    assert await send(gateway, "DELETE", f"{SESSIONS}/s1") == (204, None)
    assert await parts(fleet) == []
    assert (await send(gateway, "GET", f"{SESSIONS}/s1"))[0] == 404
    assert (await send(gateway, "POST", f"{SESSIONS}/s1/heartbeat", {}))[0] == 404


async def test_a_session_that_one_cell_refuses_is_open_in_none(
    fleet: Fleet, gateway: RunningGateway
) -> None:
    cell = fleet.cells["b"]
    await cell.client.hset(cell.keys.worker("w1"), "budget_bytes", "1")
    status, document = await send(gateway, "POST", SESSIONS, BOTH)
    assert (status, "does not fit" in document["error"]) == (507, True)
    assert await parts(fleet) == []


async def test_an_id_is_of_one_session_in_all_cells(fleet: Fleet, gateway: RunningGateway) -> None:
    one, other = ({"models": [model], "id": "s1"} for model in HOMES.values())
    assert (await send(gateway, "POST", SESSIONS, one))[0] == 201
    assert (await send(gateway, "POST", SESSIONS, other))[0] == 422
    assert await parts(fleet) == ["a"]


async def test_the_part_in_a_cell_that_is_away_is_a_marked_gap(
    fleet: Fleet, gateway: RunningGateway
) -> None:
    assert (await send(gateway, "POST", SESSIONS, BOTH))[0] == 201
    fleet.servers["b"].stop()
    status, document = await send(gateway, "GET", f"{SESSIONS}/s1")
    assert (status, list(document["cells_away"])) == (200, ["b"])
    assert [row["name"] for row in document["models"]] == [HOMES["a"]]
    status, kept = await send(gateway, "POST", f"{SESSIONS}/s1/heartbeat", {})
    assert (status, list(kept["cells_away"])) == (200, ["b"])
