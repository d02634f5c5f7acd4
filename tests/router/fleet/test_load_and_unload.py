"""Load and unload over HTTP: a real gateway and Redis, workers that the tests play."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from router.fleet import model_control
from tests.helpers.cell import Cell
from tests.helpers.factories import placing
from tests.helpers.fleet import Fleet, fleet_of, publish_made_up
from tests.helpers.wait import wait_until

LOAD, UNLOAD = (f"/v2/repository/models/bert/{verb}" for verb in ("load", "unload"))


@pytest.fixture
async def fleet(cell: Cell, tmp_path: Path) -> AsyncIterator[Fleet]:
    """A gateway whose repository has `bert` in the versions 1 and 2."""
    publish_made_up(tmp_path, "bert")
    publish_made_up(tmp_path, "bert", version=2)
    async with fleet_of(cell, tmp_path) as made:
        yield made


async def ref(fleet: Fleet, version: int = 2) -> str:
    return str((await fleet.gateway.context.catalog.resolve("bert", version)).ref)


async def test_a_load_is_answered_when_a_worker_holds_the_model(fleet: Fleet) -> None:
    """One order, however many ask; everybody hears who holds it."""
    epoch, bert = await fleet.worker(), await ref(fleet)
    asked = [asyncio.create_task(fleet.ask("POST", LOAD)) for _ in range(5)]
    await wait_until(lambda: fleet.cell.token(bert))
    assert len(await fleet.cell.orders()) == 1
    assert not any(task.done() for task in asked)
    await fleet.hold("w1", epoch, bert)
    want = {"name": "bert", "version": "2", "state": "READY", "workers": ["w1"]}
    assert [(status, said) for status, _, said in await asyncio.gather(*asked)] == [(200, want)] * 5


async def test_a_model_that_is_held_is_answered_at_once(fleet: Fleet) -> None:
    """By version too; nothing is ordered."""
    epoch = await fleet.worker()
    await fleet.have("w1", epoch, await ref(fleet, 1))
    path = "/v2/repository/models/bert/versions/1/load"
    status, _, said = await fleet.ask("POST", path, {"parameters": {}})
    assert (status, said["version"], said["workers"]) == (200, "1", ["w1"])
    assert await fleet.cell.orders() == []


@pytest.mark.parametrize(
    ("cause", "status", "code"),
    [
        (b"corrupt weights: sha256 is another", 422, "corrupt"),
        (b"untrusted the format can run code", 403, "untrusted"),
        (b"insufficient_memory takes 5 bytes", 507, "insufficient_memory"),
    ],
)
async def test_a_load_that_fails_is_answered_with_the_cause(
    fleet: Fleet, cause: bytes, status: int, code: str
) -> None:
    """With the status that requests get; and at once for who asks soon after."""
    epoch, bert = await fleet.worker(), await ref(fleet)
    asked = asyncio.create_task(fleet.ask("POST", LOAD))
    await wait_until(lambda: fleet.cell.token(bert))
    await fleet.fail("w1", epoch, bert, cause)
    for answer in (await asked, await fleet.ask("POST", LOAD)):
        assert (answer[0], answer[1]["Warmroute-Error"]) == (status, code)
        assert answer[2]["error"] == cause.decode().partition(" ")[2]


async def test_with_no_worker_it_says_so_and_when_to_come_back(fleet: Fleet) -> None:
    """503, at once."""
    status, headers, said = await fleet.ask("POST", LOAD)
    assert (status, headers["Warmroute-Error"]) == (503, "unavailable")
    assert int(headers["Retry-After"]) >= 1
    assert said["error"] == "model bert version 2: no worker is ready to load it"


@pytest.mark.parametrize(("budget", "status"), [(50, 507), (1000, 503)])
async def test_a_model_that_was_refused_by_all_says_if_it_can_ever_fit(
    fleet: Fleet, budget: int, status: int
) -> None:
    """507 with bytes and budget, if no worker is large enough; else 503, as that may pass."""
    epoch, bert = await fleet.worker(budget=budget), await ref(fleet)
    asked = asyncio.create_task(fleet.ask("POST", LOAD))
    await wait_until(lambda: fleet.cell.token(bert))
    token = await fleet.cell.claim("w1", epoch, bert)
    assert await fleet.cell.scripts.refuse_load("w1", bert, token) == "no_capacity"
    answer = await asked
    assert answer[0] == status
    assert ("the largest budget of a worker is 50" in answer[2]["error"]) == (status == 507)


async def test_a_load_is_waited_for_until_the_callers_deadline(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By parameter or header, the smaller; then 504, and the load goes on."""
    monkeypatch.setattr(model_control, "LAST_LOOK_S", 60.0)
    await fleet.worker()
    body = {"parameters": {"timeout": 50_000}}
    status, headers, said = await fleet.ask("POST", LOAD, body, **{"Warmroute-Timeout": "30"})
    assert (status, headers["Warmroute-Error"]) == (504, "expired")
    assert said["error"] == "model bert version 2: still loading; it goes on"
    assert await fleet.cell.token(await ref(fleet))


async def test_who_prefers_not_to_wait_is_told_where_to_look(fleet: Fleet) -> None:
    """202 with the residency document of that version."""
    await fleet.worker()
    status, headers, said = await fleet.ask("POST", LOAD, Prefer="respond-async")
    assert (status, said["state"]) == (202, "LOADING")
    assert headers["Location"] == said["residency"] == "/v2/models/bert/versions/2/residency"
    status, _, shown = await fleet.ask("GET", headers["Location"])
    assert (status, shown["load"]["phase"]) == (200, "ordered")


async def test_an_unload_is_answered_when_nobody_holds_the_model(fleet: Fleet) -> None:
    """Every holder is told, of every version that is held if none is named."""
    first, second = await fleet.worker("w1"), await fleet.worker("w2")
    old, new = await ref(fleet, 1), await ref(fleet, 2)
    for worker, epoch, held in (("w1", first, old), ("w1", first, new), ("w2", second, new)):
        await fleet.have(worker, epoch, held)
    body = {"parameters": {"unload_dependents": True}}
    asked = asyncio.create_task(fleet.ask("POST", UNLOAD, body))
    await wait_until(lambda: fleet.told("w2"))
    assert sorted(await fleet.told("w1")) == [f"unload {old}", f"unload {new}"]
    await fleet.free("w1", first, old)
    assert not asked.done()
    await fleet.free("w1", first, new)
    await fleet.free("w2", second, new)
    status, _, said = await asked
    assert (status, said["name"]) == (200, "bert")
    assert [(row["version"], row["state"], row["freed"]) for row in said["versions"]] == [
        ("1", "UNAVAILABLE", ["w1"]), ("2", "UNAVAILABLE", ["w1", "w2"])
    ]  # fmt: skip


async def test_holders_are_told_again_until_they_have_freed_it(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An order that was lost with a process is no reason to wait for ever."""
    monkeypatch.setattr(model_control, "ORDER_EVERY_S", 0.05)
    epoch, bert = await fleet.worker(), await ref(fleet)
    await fleet.have("w1", epoch, bert)
    asked = asyncio.create_task(fleet.ask("POST", UNLOAD))
    for _ in range(2):
        await wait_until(lambda: fleet.told("w1"))
        await fleet.cell.client.delete(fleet.cell.keys.orders("w1"))
    await fleet.free("w1", epoch, bert)
    assert (await asked)[0] == 200


async def test_what_is_asked_for_meanwhile_is_loaded_again_and_not_waited_for(
    fleet: Fleet,
) -> None:
    """An unload frees what there was; it does not fight with requests."""
    epoch, bert = await fleet.worker(), await ref(fleet)
    await fleet.have("w1", epoch, bert)
    asked = asyncio.create_task(fleet.ask("POST", UNLOAD))
    await wait_until(lambda: fleet.told("w1"))
    await fleet.free("w1", epoch, bert)
    await fleet.cell.place(placing(ref=bert))
    await fleet.hold("w1", epoch, bert)
    assert (await asked)[0] == 200
    assert await fleet.cell.client.hexists(fleet.cell.keys.holders(bert), "w1")


async def test_copies_that_come_and_go_meanwhile_are_not_waited_for(fleet: Fleet) -> None:
    """Of a model in demand some worker drains a copy all the time."""
    epochs = {name: await fleet.worker(name) for name in ("w1", "w2")}
    bert = await ref(fleet)
    await fleet.have("w1", epochs["w1"], bert)
    asked = asyncio.create_task(fleet.ask("POST", UNLOAD, **{"Warmroute-Timeout": "8"}))
    await wait_until(lambda: fleet.told("w1"))
    await fleet.cell.scripts.retire("w1", epochs["w1"], bert)
    drains = fleet.gateway.context.states.leaving
    seen = asyncio.Event()

    async def leaving(name: str) -> dict[str, set[str]]:
        found = await drains(name)
        if found.get(bert) == {"w1"}:
            seen.set()
        return found

    fleet.gateway.context.states.leaving = leaving  # type: ignore[method-assign]
    await seen.wait()
    await fleet.have("w2", epochs["w2"], bert)
    await fleet.cell.scripts.retire("w2", epochs["w2"], bert)
    await fleet.cell.scripts.freed("w1", bert)
    assert (await asked)[0] == 200


async def test_a_load_that_was_ordered_before_is_freed_too(fleet: Fleet) -> None:
    """Load, not waited for, and then unload: it is not there in the end."""
    epoch, bert = await fleet.worker(), await ref(fleet)
    assert (await fleet.ask("POST", LOAD, Prefer="respond-async"))[0] == 202
    asked = asyncio.create_task(fleet.ask("POST", UNLOAD))
    await fleet.hold("w1", epoch, bert)
    await wait_until(lambda: fleet.told("w1"))
    await fleet.free("w1", epoch, bert)
    assert (await asked)[0] == 200


async def test_a_holder_that_takes_too_long_is_named(fleet: Fleet) -> None:
    """504; it goes on."""
    epoch, bert = await fleet.worker(), await ref(fleet)
    await fleet.have("w1", epoch, bert)
    status, _, said = await fleet.ask("POST", UNLOAD, **{"Warmroute-Timeout": "0.05"})
    assert (status, said["error"]) == (504, "model bert version 2: still held by w1; it goes on")


async def test_a_pinned_model_is_not_unloaded(fleet: Fleet) -> None:
    """409 says by what; no version is freed then, not even those that are not pinned."""
    epoch, old, new = await fleet.worker(), await ref(fleet, 1), await ref(fleet, 2)
    await fleet.have("w1", epoch, old)
    await fleet.have("w1", epoch, new)
    await fleet.cell.scripts.set_policy(new, {"pin": "1"})
    status, headers, said = await fleet.ask("POST", UNLOAD)
    assert (status, headers["Warmroute-Error"]) == (409, "conflict")
    assert said["error"] == "model bert version 2: pinned by its policy, set its pin to false first"
    await fleet.cell.scripts.set_policy(new, {"pin": ""})
    for number in range(4):
        await fleet.cell.scripts.open_session(f"s{number}", 60_000, 9, [(new, 10)])
    _, _, said = await fleet.ask("POST", UNLOAD)
    assert said["error"] == "model bert version 2: pinned by sessions: s0, s1, s2 and 1 more"
    assert await fleet.told("w1") == []


async def test_a_version_that_the_repository_no_longer_has_can_be_unloaded(fleet: Fleet) -> None:
    """It is held, so there is something to free; what nobody has is 404."""
    epoch, gone = await fleet.worker(), "gone:7:0123456789ab"
    await fleet.have("w1", epoch, gone)
    path = "/v2/repository/models/gone/unload"
    asked = asyncio.create_task(fleet.ask("POST", path))
    await wait_until(lambda: fleet.told("w1"))
    await fleet.free("w1", epoch, gone)
    assert (await asked)[0] == 200
    assert (await fleet.ask("POST", path))[0] == 404


async def test_what_nobody_holds_is_unloaded_already(fleet: Fleet) -> None:
    """200, as often as it is asked."""
    for _ in range(2):
        status, _, said = await fleet.ask("POST", UNLOAD)
        assert (status, said["versions"][0]["freed"]) == (200, [])
