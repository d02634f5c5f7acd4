"""What is left of requests that failed, or whose callers waited: headers, ids, lines, readiness."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from router.requests import cancels
from tests.helpers.cell import Cell
from tests.helpers.gateway import (
    BODY,
    INFER,
    MODEL,
    RunningGateway,
    answer_all,
    publish_nothing,
    running_gateway,
)
from tests.helpers.wait import wait_until

READY = f"/v2/models/{MODEL}/ready"
BAD = json.dumps({"inputs": []}).encode()


@pytest.fixture
async def gateway(
    cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[RunningGateway]:
    """A gateway whose model nobody holds yet, and which waits for what Redis says of a request."""
    monkeypatch.setattr(cancels, "LOOK_S", 60.0)
    async with running_gateway(cell, publish_nothing(tmp_path)) as running:
        yield running


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture):
    """The lines about one request, or about all."""
    caplog.set_level(logging.INFO, logger="router.requests.outcome_log")

    def found(request_id: str = "") -> list[str]:
        said = [r.getMessage() for r in caplog.records if r.name == "router.requests.outcome_log"]
        return [line for line in said if request_id in line]

    return found


async def settled(lines, request_id: str) -> str:
    """The one line of a request; there is no second one a while later."""
    await wait_until(lambda: bool(lines(request_id)))
    await asyncio.sleep(1.2)
    (line,) = lines(request_id)
    return line


async def asked(gateway: RunningGateway, cell: Cell, epoch: str, **headers: str):
    """Ask; worker w1 answers that the model failed."""
    call = asyncio.create_task(gateway.infer(**headers))

    async def arrived() -> bool:
        return await cell.client.xlen(cell.keys.work("w1")) > 0

    await wait_until(arrived)
    entries = await cell.read("w1")
    await cell.begin("w1", epoch, entries)
    await cell.complete("w1", epoch, entries, "failed", b"model_failed oh", b"oh\nin full")
    return await call


async def asked_in_vain(gateway: RunningGateway) -> tuple[int, dict[str, str], Any]:
    """Ask, and let the deadline pass once the request is placed or parked."""
    call = asyncio.create_task(gateway.infer())
    await wait_until(lambda: gateway.waiting == 1)
    dispatch = gateway.context.intake._dispatch
    (ticket,) = dispatch.open_tickets()
    assert ticket.future is not None
    dispatch._waiters.set_deadline(ticket.future, asyncio.get_running_loop().time())
    return await call


async def known(gateway: RunningGateway, request_id: str) -> dict:
    """The document of a request, once there is one."""
    document: dict = {}

    async def there() -> bool:
        nonlocal document
        status, _, document = await gateway.get(f"/v2/requests/{request_id}")
        return status == 200

    await wait_until(there)
    return document


async def test_a_failed_answer_names_its_worker_and_its_id_leads_somewhere(
    gateway: RunningGateway, cell: Cell, lines
) -> None:
    """Header, document and line tell the same; the line has the full text."""
    epoch = await cell.worker("w1", holds=[await gateway.ref()])
    status, headers, document = await asked(gateway, cell, epoch)
    assert (status, document) == (500, {"error": "oh"})
    assert headers["Warmroute-Worker"] == "w1"
    id = headers["Warmroute-Request-Id"]
    line = await settled(lines, id)
    assert line.endswith(r"version=1 worker=w1 code=model_failed status=500 cause=oh\nin full")
    assert await known(gateway, id.upper()) == {
        "id": id, "status": "failed", "model": MODEL, "version": "1", "worker": "w1",
        "error": "oh", "code": "model_failed",
    }  # fmt: skip


async def test_an_answer_that_was_given_is_known_but_not_kept(
    gateway: RunningGateway, cell: Cell, lines
) -> None:
    """Status, model and worker, for the caller's colleague; at any gateway."""
    epoch = await cell.worker("w1", holds=[await gateway.ref()])
    call = asyncio.create_task(gateway.infer())
    await wait_until(lambda: gateway.waiting == 1)
    await answer_all(cell, epoch)
    status, headers, _ = await call
    assert status == 200
    document = await known(gateway, headers["Warmroute-Request-Id"])
    assert document["status"] == "succeeded" and document["worker"] == "w1"
    assert "not kept" in document["reason"] and "response" not in document
    async with gateway.http.delete(f"/v2/requests/{document['id']}") as answer:
        assert answer.status == 409
    assert lines(document["id"]) == []


@pytest.mark.parametrize("held", [True, False], ids=["placed", "parked"])
async def test_a_deadline_that_passed_says_on_what_it_waited(
    gateway: RunningGateway, cell: Cell, lines, held: bool
) -> None:
    """In the answer, in the line and under its id; and it has one line, whoever ended it."""
    await cell.worker("w1", holds=[await gateway.ref()] if held else [])
    status, headers, document = await asked_in_vain(gateway)
    why = "placed on worker w1" if held else "a load of its model was ordered"
    assert status == 504 and why in document["error"]
    id = headers["Warmroute-Request-Id"]
    line = await settled(lines, id)
    assert "code=expired status=504" in line and why in line
    assert (await known(gateway, id))["status"] == "expired"


async def test_a_cell_without_workers_says_so(gateway: RunningGateway, cell: Cell) -> None:
    """To who waited, to who polls, to who watches the gateway."""
    _, _, document = await asked_in_vain(gateway)
    assert "no worker is alive" in document["error"]
    _, headers, _ = await gateway.infer(Prefer="respond-async")
    document = await known(gateway, headers["Warmroute-Request-Id"])
    assert document["waits"].startswith("no worker is alive; ")
    status, _, document = await gateway.get("/v2/health/ready")
    assert (status, document["workers"]) == (200, 0)


async def test_what_was_refused_has_an_id_and_a_line(
    gateway: RunningGateway, lines, caplog
) -> None:
    """One level lower if it was the caller's own doing."""
    async with gateway.http.post(INFER, data=BAD) as answer:
        assert answer.status == 400
        id = answer.headers["Warmroute-Request-Id"]
    line = await settled(lines, id)
    assert f"model={MODEL}" in line and "code=invalid status=400" in line
    assert [r.levelname for r in caplog.records if id in r.getMessage()] == ["INFO"]


async def test_a_path_writes_no_line_of_its_own(gateway: RunningGateway, lines) -> None:
    """Nor any field: a name from outside is one word."""
    path = "/v2/models/x%20worker=w9%0Arequest%201%20failed/infer"
    async with gateway.http.post(path, data=BODY) as answer:
        assert answer.status in (400, 404)
        id = answer.headers["Warmroute-Request-Id"]
    (line,) = lines(id)
    head = line.partition(" cause=")[0]
    assert line.isprintable() and "worker=- " in head and "worker=w9" not in head


async def test_a_model_that_cannot_be_loaded_is_not_ready(
    gateway: RunningGateway, cell: Cell, lines
) -> None:
    """With the cause, as long as requests are refused with it; each of those has a line too."""
    assert (await gateway.get(READY))[0] == 200
    ref, epoch = await gateway.ref(), await cell.worker("w1")
    call = asyncio.create_task(gateway.infer())
    await wait_until(lambda: gateway.waiting == 1)

    async def ordered() -> bool:
        return bool(await cell.token(ref))

    await wait_until(ordered)
    token = await cell.claim("w1", epoch, ref)
    await cell.scripts.fail_load(
        "w1", ref, token, b"corrupt bad hash", 60_000, False, "cpu", b"all"
    )
    status, headers, _ = await call
    assert (status, headers["Warmroute-Worker"]) == (422, "w1")
    assert (await settled(lines, headers["Warmroute-Request-Id"])).endswith("cause=all")
    status, headers, document = await gateway.get(READY)
    assert (status, document["ready"], document["code"]) == (503, False, "corrupt")
    assert document["error"] == "bad hash" and int(headers["Retry-After"]) >= 1
    async with gateway.http.post("/v2/repository/index") as answer:
        assert [row["reason"] for row in await answer.json()] == ["bad hash"]
    status, headers, _ = await gateway.infer()
    assert status == 422
    assert "code=corrupt" in await settled(lines, headers["Warmroute-Request-Id"])
    assert (await known(gateway, headers["Warmroute-Request-Id"]))["code"] == "corrupt"
