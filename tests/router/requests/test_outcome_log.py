"""The log of failures: one line each, whoever writes it, and no flood of them."""

from __future__ import annotations

import logging
import re

import pytest

from router.requests import outcome_log as module
from router.requests.outcome_log import LINES_OF_MODEL, Failure, FailureLog, RecentOutcomes
from router.rest.error_responses import STATUS
from shared.errors import InvalidInput, ModelFailed, Unavailable
from shared.names import ModelRef
from tests.helpers.cell import Cell
from tests.helpers.factories import OTHER_REF, REF, request_id


def log_of(cell: Cell, gateway: str = "gw1") -> FailureLog:
    """The failures that one gateway writes down."""
    return FailureLog(cell.channel, cell.keys, gateway, RecentOutcomes(cell.scripts, 100), STATUS)


async def fail(cell: Cell, outcome: str = "model_failed oh", cause: str = "", **changes) -> str:
    """A failure as `publish` writes it; the request's id."""
    fields = {"id": request_id(), "model": REF, "worker": "w1"}
    fields |= {"outcome": outcome, "cause": cause, **changes}
    await cell.client.xadd(cell.keys.failures, fields)
    return fields["id"]


@pytest.fixture
async def cell(cell: Cell) -> Cell:
    """One with two gateways."""
    for gateway in ("gw1", "gw2"):
        await cell.gateway(gateway)
    return cell


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture):
    """What has been logged so far."""
    caplog.set_level(logging.INFO, logger="router.requests.outcome_log")
    return lambda: [record.getMessage() for record in caplog.records]


async def test_a_failure_has_one_line_with_all_that_is_known(cell: Cell, lines) -> None:
    """Model, version, worker, code, status and the cause in full, on one line."""
    id = await fail(cell, "model_failed oh", "oh\nno")
    assert await log_of(cell).run_once() == 1
    assert lines() == [
        f"request {id} failed: model=mnist version=1 worker=w1 code=model_failed status=500 "
        r"cause=oh\nno"
    ]
    assert await cell.client.xlen(cell.keys.failures) == 0


@pytest.mark.parametrize(
    "cause", ["x\nrequest 1 failed: model=a", "é\x00\x1b[0m\u2028", "a" * 5000]
)
async def test_no_model_writes_lines_of_its_own(cell: Cell, lines, cause: str) -> None:
    """Whatever it raises, it is one printable line of bounded length."""
    await fail(cell, "model_failed oh", cause, model="a b=1\nc:1:0123456789ab")
    await log_of(cell).run_once()
    (line,) = lines()
    assert line.isprintable() and len(line) < 2500
    assert re.match(
        r"request \w+ failed: model=\S+ version=\S+ worker=w1 code=\w+ status=500 ", line
    )


async def test_two_gateways_write_each_line_once(cell: Cell, lines) -> None:
    """Together they write all of them."""
    logs = [log_of(cell, "gw1"), log_of(cell, "gw2")]
    ids = {await fail(cell, model=f"m{n}:1:0123456789ab") for n in range(50)}
    for _ in range(2):
        for each in logs:
            await each.run_once()
    assert sorted(line.split()[1] for line in lines()) == sorted(ids)


async def test_what_a_dead_gateway_had_in_hand_is_written_by_another(cell: Cell, lines) -> None:
    """It had read it, and was killed before it wrote."""
    id = await fail(cell)
    await cell.client.xreadgroup("g", "gw2", {cell.keys.failures: ">"})
    await log_of(cell).run_once()
    assert lines() == []
    await cell.gateway("gw2", lease_ms=-1)
    await cell.gateway("gw1")
    other = log_of(cell)
    await other.run_once()
    await other.run_once()
    assert [line.split()[1] for line in lines()] == [id]


async def test_a_flood_is_counted(cell: Cell, lines, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one model some lines a second, then how many more; another model has its own."""
    now = [100.0]
    monkeypatch.setattr(module.clock, "monotonic", lambda: now[0])
    log = log_of(cell)
    for _ in range(1000):
        await fail(cell)
    other = await fail(cell, model=OTHER_REF)
    await log.run_once()
    await log.run_once()
    assert len(lines()) == LINES_OF_MODEL + 1
    assert other in lines()[-1]
    now[0] += 1
    await log.run_once()
    assert lines()[-1] == (
        f"{1000 - LINES_OF_MODEL} more requests of model mnist failed: code=model_failed"
    )
    await fail(cell)
    await log.run_once()
    assert len(lines()) == LINES_OF_MODEL + 3


async def test_many_models_that_fail_at_once_fill_neither_log_nor_memory(cell: Cell, lines) -> None:
    """The whole has a bound too, and so has what is counted."""
    log = log_of(cell)
    for n in range(3000):
        log.note("-", Unavailable("no"), f"m{n}")
    log.summarise()
    assert module.LINES < len(lines()) <= module.LINES + module.MOST_COUNTED + 1
    counted = sum(int(line.split()[0]) for line in lines()[module.LINES :])
    assert counted == 3000 - module.LINES


async def test_what_the_caller_did_wrong_is_no_warning(cell: Cell, caplog) -> None:
    """It is told all the same."""
    caplog.set_level(logging.INFO, logger="router.requests.outcome_log")
    log = log_of(cell)
    for error in (InvalidInput("bad"), ModelFailed("oh"), Unavailable("away")):
        log.note(request_id(), error, "m")
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING", "WARNING"]


async def test_garbage_in_the_stream_holds_up_nothing(cell: Cell, lines) -> None:
    """Somebody else wrote there."""
    await cell.client.xadd(cell.keys.failures, {"what": b"\xff"})
    id = await fail(cell)
    await log_of(cell).run_once()
    assert len(lines()) == 2 and id in lines()[1]


async def test_a_refusal_can_be_asked_for(cell: Cell) -> None:
    """At any gateway, once it is told."""
    remembered = RecentOutcomes(cell.scripts, 100)
    log, id = FailureLog(cell.channel, cell.keys, "gw1", remembered, STATUS), request_id()
    log.refused(id, ModelRef.parse(REF), Unavailable("full"))
    await remembered.run_once()
    text = (await cell.scripts.subscribe(id, ""))["ended"]
    assert text == f"failed - 0 {REF} unavailable full".encode()


def test_an_unknown_code_is_a_500() -> None:
    """Of a newer worker."""
    assert "status=500" in Failure("1", "m", "1", "w", "brand_new", "x").line(STATUS)
