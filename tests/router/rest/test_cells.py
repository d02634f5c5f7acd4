"""A gateway of two cells: where calls go, what is left when one is away, what a cell's coming and
going moves."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from router.rest import cell_turns
from shared.cell_list import tag_of
from shared.errors import ConfigError
from tests.helpers.cells import HOMES, MOVING, NAMES, Fleet, infer, send, two_cells
from tests.helpers.wait import wait_until

LATER = {"Prefer": "respond-async"}


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    """Cells a and b."""
    async with two_cells(tmp_path) as made:
        yield made


async def test_each_model_runs_in_its_cell_and_the_ids_name_it(fleet: Fleet) -> None:
    async with (
        fleet.gateway() as gateway,
        fleet.serving(gateway, "a", *HOMES.values()),
        fleet.serving(gateway, "b", *HOMES.values()),
    ):
        for cell, model in HOMES.items():
            status, headers, document = await infer(gateway, model)
            assert (status, headers["Warmroute-Worker"]) == (200, f"w-{cell}"), document
            assert headers["Warmroute-Request-Id"].startswith(tag_of(cell))


async def test_polls_and_cancels_find_the_cell(fleet: Fleet) -> None:
    async with fleet.gateway() as gateway, fleet.gateway() as other:
        for cell, model in HOMES.items():
            status, headers, _ = await infer(gateway, model, **LATER)
            assert status == 202
            where = headers["Location"]
            assert (await other.get(where))[2]["status"] == "queued"
            assert await fleet.cells[cell].client.zcard(fleet.cells[cell].keys.deadlines) == 1
            assert await send(other, "DELETE", where) == (204, None)
            assert (await gateway.get(where))[2]["status"] == "cancelled"


async def test_an_id_of_an_older_release_is_found_where_it_is(fleet: Fleet) -> None:
    """It names no cell, or by chance another one."""
    async with fleet.gateway("b") as gateway:
        _, _, document = await infer(gateway, HOMES["b"], **LATER)
    cell, old = fleet.cells["b"], tag_of("a") + secrets.token_hex(14)
    keys = cell.keys
    await cell.client.rename(keys.request(document["id"]), keys.request(old))
    async with fleet.gateway() as gateway:
        assert (await gateway.get(f"/v2/requests/{old}"))[2]["id"] == old


async def test_an_id_of_a_cell_that_is_gone_says_so(fleet: Fleet) -> None:
    async with fleet.gateway() as gateway:
        _, headers, _ = await infer(gateway, HOMES["b"], **LATER)
        assert (await gateway.get("/v2/requests/nonsense"))[0] == 404
    async with fleet.gateway("a") as gateway:
        status, _, document = await gateway.get(headers["Location"])
        assert (status, "unknown" in document["error"]) == (404, True)


async def test_a_cell_that_is_away_is_missed_by_its_models_alone(fleet: Fleet) -> None:
    async with fleet.gateway() as gateway, fleet.serving(gateway, "a", HOMES["a"]):
        _, headers, _ = await infer(gateway, HOMES["b"], **LATER)
        assert (await infer(gateway, HOMES["a"]))[0] == 200
        fleet.servers["b"].stop()
        status, _, document = await infer(gateway, HOMES["b"])
        assert (status, document["error"][:8]) == (503, "cell b: ")
        status, _, document = await gateway.get(f"/v2/models/{HOMES['b']}/residency")
        assert (status, document["error"][:8]) == (503, "cell b: ")
        assert (await infer(gateway, HOMES["a"]))[0] == 200
        status, _, document = await gateway.get(headers["Location"])
        assert (status, "cell b" in document["error"]) == (503, True)


async def test_a_cell_that_hangs_is_waited_for_by_its_models_alone(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its Redis takes connections and answers nothing."""
    monkeypatch.setattr(cell_turns, "AWAY_S", 1.0)
    async with fleet.gateway() as gateway, fleet.serving(gateway, "a", HOMES["a"]):
        assert (await infer(gateway, HOMES["b"], **LATER))[0] == 202
        with fleet.hanging("b"):
            waits = asyncio.create_task(infer(gateway, HOMES["b"], **LATER))
            assert (await infer(gateway, HOMES["a"]))[0] == 200
            assert not waits.done()
            status, _, document = await waits
            assert (status, document["error"][:8]) == (503, "cell b: ")
            for path in ("/v2/requests", "/v2/residency"):
                status, _, document = await gateway.get(path)
                assert (status, list(document["cells_away"])) == (200, ["b"])

        async def serves() -> bool:
            return (await infer(gateway, HOMES["b"], **LATER))[0] == 202

        await wait_until(serves)


async def test_a_gateway_is_ready_while_one_cell_works(fleet: Fleet) -> None:
    async with fleet.gateway() as gateway:
        status, _, document = await gateway.get("/v2/health/ready")
        assert (status, [row["ready"] for row in document["cells"].values()]) == (200, [True] * 2)
        fleet.servers["b"].stop()
        status, _, document = await gateway.get("/v2/health/ready")
        assert (status, document["cells"]["a"]["ready"]) == (200, True)
        assert "Redis does not answer" in document["cells"]["b"]["error"]
        fleet.servers["a"].stop()
        status, _, document = await gateway.get("/v2/health/ready")
        assert (status, "cell a" in document["error"]) == (503, True)


async def test_a_cell_that_was_away_at_the_start_joins_when_it_is_back(fleet: Fleet) -> None:
    fleet.servers["b"].stop()
    async with fleet.gateway() as gateway:
        assert (await infer(gateway, HOMES["b"], **LATER))[0] == 503
        assert (await infer(gateway, HOMES["a"], **LATER))[0] == 202
        await fleet.restart("b")

        async def serves() -> bool:
            return (await infer(gateway, HOMES["b"], **LATER))[0] == 202

        await wait_until(serves)
        keys = fleet.cells["b"].keys
        await wait_until(lambda: fleet.cells["b"].client.zcard(keys.gateways))


async def test_a_gateway_does_not_start_without_any_cell(fleet: Fleet) -> None:
    for name in NAMES:
        fleet.servers[name].stop()
    with pytest.raises(ConfigError, match="WARMROUTE_CELLS"):
        async with fleet.gateway():
            raise AssertionError("it started")


async def test_cells_whose_redis_are_exchanged_are_found_at_the_start(fleet: Fleet) -> None:
    await fleet.cells["a"].worker("w1")
    a, b = fleet.servers["a"].url, fleet.servers["b"].url
    with pytest.raises(ConfigError, match="WARMROUTE_CELLS: cell 'b': its Redis holds cell 'a'"):
        async with fleet.gateway(WARMROUTE_CELLS=f"a={b},b={a}"):
            raise AssertionError("it started")


async def test_cells_may_share_a_redis_whatever_its_address(fleet: Fleet) -> None:
    await fleet.cells["a"].worker("w1")
    url = fleet.servers["a"].url
    listed = f"a={url},b={url.replace('127.0.0.1', 'localhost')}"
    async with fleet.gateway(WARMROUTE_CELLS=listed) as gateway:
        assert (await infer(gateway, HOMES["b"], **LATER))[0] == 202
        assert await fleet.cells["a"].client.exists("{b}:deadlines")


async def test_a_key_is_good_after_its_model_moved(fleet: Fleet) -> None:
    """It was accepted in a; then b is added, to which the model belongs."""
    keyed = {"Idempotency-Key": "once", **LATER}
    async with fleet.gateway("a") as gateway:
        _, before, _ = await infer(gateway, MOVING, **keyed)
    for cells in ("a,b", "a;0,b"):
        async with fleet.gateway(cells) as gateway:
            status, after, _ = await infer(gateway, MOVING, **keyed)
            assert (status, after["Idempotency-Replayed"]) == (202, "true")
            assert after["Location"] == before["Location"]
            assert (await infer(gateway, MOVING, **LATER))[1]["Location"] != before["Location"]
    assert await fleet.cells["a"].client.zcard(fleet.cells["a"].keys.deadlines) == 1
    assert await fleet.cells["b"].client.zcard(fleet.cells["b"].keys.deadlines) == 2


async def test_a_key_does_not_wait_for_a_cell_that_is_away(fleet: Fleet) -> None:
    async with fleet.gateway() as gateway:
        fleet.servers["b"].stop()
        assert (await infer(gateway, HOMES["a"], **{"Idempotency-Key": "k", **LATER}))[0] == 202


async def test_nothing_keeps_copies_where_a_model_was(fleet: Fleet) -> None:
    """What was accepted there ends there; `min_copies` ends."""
    cell = fleet.cells["a"]
    async with fleet.gateway("a") as gateway:
        entry = await gateway.context.catalog.resolve(MOVING)
        await cell.scripts.order_copy(str(entry.ref), 1)
        _, headers, _ = await infer(gateway, MOVING, **LATER)
    async with fleet.gateway() as gateway:
        await wait_until(lambda: _is_empty(fleet, cell.keys.min_copies))
        async with fleet.serving(gateway, "a", MOVING):

            async def ended() -> bool:
                return (await gateway.get(headers["Location"]))[2]["status"] == "succeeded"

            await wait_until(ended)


async def _is_empty(fleet: Fleet, key: str) -> bool:
    return not await fleet.cells["a"].client.exists(key)
