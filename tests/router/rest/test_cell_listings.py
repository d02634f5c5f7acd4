"""Listings over two cells: pages through all of them, the cell of each row, marked gaps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from router.fleet.reader import ResidencyReader
from router.rest.endpoints import listings
from shared.repository import Listed
from tests.helpers.cells import HOMES, Fleet, infer, model_of, send, two_cells
from tests.helpers.fleet import publish_made_up

EVENT = {"kind": "retired", "model": HOMES["a"], "version": "1", "worker": "w1"}
LATER = {"Prefer": "respond-async"}


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    """Cells a and b."""
    async with two_cells(tmp_path) as made:
        yield made


async def test_listings_mark_the_gap_that_a_cell_leaves(fleet: Fleet) -> None:
    async with fleet.gateway() as gateway, fleet.serving(gateway, "a", HOMES["a"]):
        fleet.servers["b"].stop()
        for path in ("/v2/residency", "/v2/requests", "/v2/sessions", "/v2/dead", "/v2/events"):
            status, _, document = await gateway.get(path)
            assert (status, list(document["cells_away"])) == (200, ["b"]), path
        rows = {row["name"]: row for row in (await gateway.get("/v2/models"))[2]}
        assert rows[HOMES["a"]]["state"] == "READY"
        assert "cell b" in rows[HOMES["b"]]["reason"]


async def test_open_requests_and_dead_letters_are_paged_over_all_cells(fleet: Fleet) -> None:
    async with fleet.gateway() as gateway:
        ids = set()
        for model in [*HOMES.values()] * 3:
            ids.add((await infer(gateway, model, **LATER))[2]["id"])
        rows, after = [], ""
        while after is not None:
            path = f"/v2/requests?limit=2&after={after}"
            page = (await gateway.get(path))[2]
            rows += page["requests"]
            after = page["next"]
        assert {row["id"] for row in rows} == ids
        assert len(rows) == len(ids)
        assert [row["cell"] for row in rows] == ["a"] * 3 + ["b"] * 3
        assert (await gateway.get("/v2/requests?after=c.1"))[0] == 400


async def test_a_dead_letter_is_named_with_its_cell(fleet: Fleet) -> None:
    for name, cell in fleet.cells.items():
        fields = {"kind": "request", "id": name, "cause": "dead_lettered x", "body": "?"}
        await cell.client.xadd(cell.keys.dead_letters, fields, id="1700000000000-0")
    async with fleet.gateway() as gateway:
        letters = (await gateway.get("/v2/dead"))[2]["letters"]
        assert [row["entry"] for row in letters] == ["a.1700000000000-0", "b.1700000000000-0"]
        assert {row["died"] for row in letters} == {"2023-11-14T22:13:20Z"}
        assert (await gateway.get("/v2/dead/b.1700000000000-0"))[2]["id"] == "b"
        assert (await gateway.get("/v2/dead/1700000000000-0"))[0] == 404
        assert await send(gateway, "DELETE", "/v2/dead/b.1700000000000-0") == (204, None)
        assert [row["id"] for row in (await gateway.get("/v2/dead"))[2]["letters"]] == ["a"]


async def test_events_of_all_cells_are_read_to_their_ends(fleet: Fleet) -> None:
    """By their ids: cell b's clock is behind, and its event comes last."""
    a, b = fleet.cells["a"], fleet.cells["b"]
    for number in range(3):
        await a.client.xadd(a.keys.events, EVENT, id=f"{1700000000000 + number}-0")
    await b.client.xadd(b.keys.events, EVENT, id="1600000000000-0")
    async with fleet.gateway() as gateway:
        newest = (await gateway.get("/v2/events?limit=2"))[2]
        assert [row["cell"] for row in newest["events"]] == ["a", "a"]
        await b.client.xadd(b.keys.events, EVENT, id="1600000000000-5")
        page = (await gateway.get(f"/v2/events?since={newest['last']}"))[2]
        assert [(row["cell"], row["id"]) for row in page["events"]] == [("b", "1600000000000-5")]
        seen, since = [], "2001-01-01T00:00:00Z"
        while page["events"]:
            page = (await gateway.get(f"/v2/events?limit=2&since={since}"))[2]
            seen += [(row["cell"], row["id"]) for row in page["events"]]
            since = page["last"]
        assert (len(seen), len(set(seen))) == (5, 5)
        assert (await gateway.get("/v2/events?since=c.1-0"))[0] == 400
        assert len((await gateway.get("/v2/events?cell=b"))[2]["events"]) == 2


async def test_residency_names_the_cell_of_each_row(fleet: Fleet) -> None:
    async with (
        fleet.gateway() as gateway,
        fleet.serving(gateway, "a", HOMES["a"]),
        fleet.serving(gateway, "b", HOMES["b"]),
    ):
        document = (await gateway.get("/v2/residency"))[2]
        assert {row["cell"]: row["id"] for row in document["workers"]} == {"a": "w-a", "b": "w-b"}
        assert {row["cell"]: row["name"] for row in document["models"]} == HOMES


async def test_residency_is_paged_over_all_cells(fleet: Fleet) -> None:
    """One cell after the other, each worker once, whether or not a page ends with a cell."""
    ids = {"a": ["w1", "w2", "w3"], "b": ["w1", "w4"]}
    for name, workers in ids.items():
        for worker in workers:
            await fleet.cells[name].worker(worker, lease_ms=600_000)
    every = [(name, worker) for name, workers in ids.items() for worker in workers]
    async with fleet.gateway() as gateway:
        for limit in (1, 2, 3, 5):
            rows, after = [], ""
            while after is not None:
                page = (await gateway.get(f"/v2/residency?limit={limit}&after={after}"))[2]
                assert len(page["workers"]) <= limit
                rows += [(row["cell"], row["id"]) for row in page["workers"]]
                after = page["next"]
            assert rows == every, limit
        some = (await gateway.get("/v2/residency?worker=w1"))[2]["workers"]
        assert [row["cell"] for row in some] == ["a", "b"]
        for made_up in ("c.d3cx", "a.x", "d3cx"):
            for path in ("/v2/residency", "/v2/requests"):
                status, _, said = await gateway.get(f"{path}?after={made_up}")
                assert (status, said["error"][:6]) == (400, "after:"), (path, made_up)
        assert (await gateway.get("/v2/sessions?after=a.%0a"))[0] == 400


async def test_the_index_asks_each_models_own_cell(fleet: Fleet) -> None:
    """Where a model was before, copies may be left: its requests do not go there."""
    async with fleet.gateway() as gateway, fleet.serving(gateway, "a", *HOMES.values()):
        rows = {row["name"]: row["state"] for row in (await gateway.get("/v2/models"))[2]}
        assert rows == {HOMES["a"]: "READY", HOMES["b"]: "UNAVAILABLE"}
        ready = (await gateway.get("/v2/models?state=READY"))[2]
        assert [row["name"] for row in ready] == [HOMES["a"]]


async def test_a_long_list_asks_a_cell_that_is_away_once(fleet: Fleet, monkeypatch) -> None:
    """And not for each of its parts, or it would wait for it as often."""
    monkeypatch.setattr(listings, "LOOKED_AT", 1)
    asked: list[str] = []
    read = ResidencyReader.held

    async def noted(reader: ResidencyReader, models: Sequence[Listed]) -> object:
        asked.extend(model.name for model in models)
        return await read(reader, models)

    monkeypatch.setattr(ResidencyReader, "held", noted)
    for skip in (1, 2):
        publish_made_up(fleet.repository, model_of("b", skip=skip))
    async with fleet.gateway() as gateway:
        fleet.servers["b"].stop()
        rows = {row["name"]: row for row in (await gateway.get("/v2/models"))[2]}
        away = [name for name, row in rows.items() if "cell b" in row["reason"]]
        assert len(away) == 3
        assert len([name for name in asked if name in away]) == 1
        assert HOMES["a"] in asked
