"""What is charged for the death of a device process: a model, or its worker (I36)."""

from __future__ import annotations

import pytest

from tests.helpers.cell import LEASE_MS, MAX_ATTEMPTS, Cell
from tests.helpers.factories import OTHER_REF, REF, kept, placing
from tests.lua.fleet import NOW_MS, claim, worker

CAUSE, BACKOFF_MS, FIRST_MS, CALM_MS = "was killed by SIGSEGV", 10_000, 10_000, 60_000
SUCCESSES = 20  # that outweigh one crash


@pytest.fixture(autouse=True)
def _clock(cell: Cell) -> None:
    cell.scripts.now_ms = NOW_MS


async def crash(cell: Cell, name: str, ref: str = REF, times: int = 1, **report: str) -> None:
    """The device process of this worker dies while it runs a request, and starts again."""
    for _ in range(times):
        epoch = await worker(cell, name, holds=[ref], lease_ms=600_000, **report)
        item = placing(ref=ref)
        entry = await cell.client.xadd(
            cell.keys.work(name),
            {"id": item.id, "model": ref, "deadline": "9" * 13, "reply": "", "flags": "",
             "attempts": "0", "body": b"x"},
        )  # fmt: skip
        await cell.read(name)
        await cell.client.hset(cell.keys.started(name), entry, "1")
        await cell.scripts.fence_worker(name, epoch, 1, CAUSE, MAX_ATTEMPTS)
        await cell.client.delete(cell.keys.parked(ref), cell.keys.load(ref))
    await cell.worker(name, lease_ms=600_000)


async def status(cell: Cell, ref: str = REF) -> str:
    (placed,) = await cell.place(placing(ref=ref))
    return placed.status


async def succeed(cell: Cell, name: str, epoch: str, number: int, ref: str = REF) -> None:
    """Requests that this worker serves."""
    await cell.place(*[placing(ref=ref) for _ in range(number)])
    await cell.complete(name, epoch, await cell.read(name))


@pytest.mark.parametrize("times", [5, 50])
async def test_one_bad_machine_quarantines_no_model(cell: Cell, times: int) -> None:
    """Its holder elsewhere goes on, and a cold request is loaded elsewhere."""
    await cell.worker("good", holds=[REF], lease_ms=600_000)
    await crash(cell, "bad", times=times)
    (placed,) = await cell.place(placing())
    assert (placed.status, placed.detail) == ("placed", "good")


async def test_distinct_workers_convict_a_model(cell: Cell) -> None:
    """Two of them, with enough crashes; the reason names them."""
    await cell.worker("w3", lease_ms=600_000)
    await crash(cell, "w1", times=3)
    assert await status(cell) == "parked"
    await crash(cell, "w2", times=2)
    (refused,) = await cell.place(placing())
    assert refused.status == "quarantined"
    assert refused.detail == (
        "quarantined this model version crashed workers 5 times (w1, w2), the last: " + CAUSE
    )


async def test_a_cell_of_one_worker_protects_itself(cell: Cell) -> None:
    """From a model that crashes it every time."""
    await crash(cell, "w1", times=4)
    assert await status(cell) == "parked"
    await crash(cell, "w1")
    assert await status(cell) == "quarantined"


async def test_a_sole_worker_that_crashes_with_several_models_convicts_none(cell: Cell) -> None:
    """It is the machine."""
    await crash(cell, "w1", OTHER_REF)
    await crash(cell, "w1", times=8)
    assert await status(cell) == "parked"


async def test_successes_outweigh_crashes(cell: Cell) -> None:
    """A poison request now and then among good ones is no reason: a rate is."""
    await cell.worker("w3", holds=[REF], lease_ms=600_000)
    await crash(cell, "w1", times=3)
    epoch = await cell.worker("w4", holds=[REF], lease_ms=600_000)
    await cell.scripts.leave("w3", await cell.worker("w3"), MAX_ATTEMPTS)
    await succeed(cell, "w4", epoch, SUCCESSES)
    await crash(cell, "w2", times=2)
    assert await status(cell) == "placed"
    await crash(cell, "w2")
    held = await cell.client.hget(cell.keys.breaker(REF), "until")
    assert held is not None, "six crashes less one"


async def test_enough_successes_close_the_account(cell: Cell) -> None:
    """And then nothing is counted any more."""
    epoch = await cell.worker("w2", holds=[REF], lease_ms=600_000)
    await crash(cell, "w1")
    await succeed(cell, "w2", epoch, SUCCESSES - 2)  # and the one that was moved
    assert await cell.exists(cell.keys.breaker(REF)) != []
    await succeed(cell, "w2", epoch, 1)
    assert await cell.exists(cell.keys.breaker(REF)) == []
    await cell.place(placing())
    (entry,) = await cell.read("w2")
    assert entry.fields["flags"] == b""


async def test_a_model_that_never_crashed_costs_nothing(cell: Cell) -> None:
    """Its requests carry no flag, so that `complete` looks at nothing."""
    await cell.worker("w1", holds=[REF])
    await cell.place(placing())
    (entry,) = await cell.read("w1")
    assert entry.fields["flags"] == b""


async def test_holders_that_serve_it_go_on_during_a_quarantine(cell: Cell) -> None:
    """Those that it has not crashed, as long as it succeeds on such."""
    epoch = await cell.worker("good", holds=[REF], lease_ms=600_000)
    await crash(cell, "w1", times=3)
    await succeed(cell, "good", epoch, 1)
    await crash(cell, "w2", times=2)
    (placed,) = await cell.place(placing())
    assert (placed.status, placed.detail) == ("placed", "good")
    await cell.worker("w1", holds=[REF], lease_ms=600_000)
    assert {p.detail for p in await cell.place(placing(), placing())} == {"good"}
    cell.scripts.now_ms = NOW_MS + 9_999
    await cell.client.hset(cell.keys.breaker(REF), "ok_at", NOW_MS - 60_000)
    assert await status(cell) == "quarantined"


async def test_a_worker_that_several_models_crash_is_suspect(cell: Cell) -> None:
    """Others are asked first, until it has been calm for a while."""
    await cell.worker("good", holds=[OTHER_REF], lease_ms=600_000)
    await crash(cell, "bad", "a:1:0123456789ab")
    assert await cell.client.hgetall(cell.keys.unhealthy) == {}
    await crash(cell, "bad", "b:1:0123456789ab")
    assert await cell.client.hgetall(cell.keys.unhealthy) == {b"bad": b"suspect"}
    await cell.worker("bad", holds=[OTHER_REF], lease_ms=600_000)
    placed = await cell.place(*[placing(ref=OTHER_REF) for _ in range(3)])
    assert {p.detail for p in placed} == {"good"}
    assert 0 < await cell.client.pttl(cell.keys.crashed("bad")) <= CALM_MS
    await cell.client.delete(cell.keys.crashed("bad"))
    epoch = await cell.worker("bad")
    assert (await cell.scripts.heartbeat("bad", epoch, "one", LEASE_MS, 0, {})).answer == "ok"
    assert await cell.client.hgetall(cell.keys.unhealthy) == {}


async def test_a_worker_that_a_model_crashes_which_works_elsewhere_is_suspect(cell: Cell) -> None:
    """It needs no second model."""
    epoch = await cell.worker("good", holds=[REF], lease_ms=600_000)
    await crash(cell, "bad")
    await succeed(cell, "good", epoch, 1)
    await crash(cell, "bad")
    assert await cell.client.hgetall(cell.keys.unhealthy) == {b"bad": b"suspect"}


async def test_a_poison_model_makes_no_worker_suspect(cell: Cell) -> None:
    """It crashes whoever takes it."""
    await cell.worker("w3", lease_ms=600_000)
    await crash(cell, "w1", times=2)
    await crash(cell, "w2", times=3)
    await crash(cell, "w1", OTHER_REF)
    assert await cell.client.hgetall(cell.keys.unhealthy) == {}


async def test_a_model_that_crashed_a_worker_twice_is_loaded_elsewhere(cell: Cell) -> None:
    """For a while; once may be one request's fault."""
    epochs = {"w2": await cell.worker("w2", lease_ms=600_000)}
    await crash(cell, "w1")
    epochs["w1"] = await cell.worker("w1", lease_ms=600_000)
    await cell.place(kept())
    assert "w1" not in (await cell.client.hget(cell.keys.load(REF), "refused")).decode()
    await crash(cell, "w1")
    epochs["w1"] = await cell.worker("w1", lease_ms=600_000)
    await cell.client.delete(cell.keys.load(REF))
    await cell.scripts.sweep()
    await cell.place(kept())
    assert await claim(cell, "w1", epochs["w1"]) == "refused"
    assert await claim(cell, "w2", epochs["w2"]) == "suspect"


@pytest.mark.parametrize("parent", ["", "two"])
async def test_a_restart_does_not_mend_what_crashed_a_worker(cell: Cell, parent: str) -> None:
    """A pod that dies of a model is started again by its host each time."""
    await cell.worker("w2", lease_ms=600_000)
    await crash(cell, "w1", times=2, parent="one")
    epoch = await worker(cell, "w1", lease_ms=600_000, parent=parent)
    await cell.place(kept())
    assert await claim(cell, "w1", epoch) == "refused"
    cell.scripts.now_ms = NOW_MS + BACKOFF_MS
    assert await claim(cell, "w1", epoch) == "suspect"  # claimed: it crashed
