"""Sessions over HTTP: opened, kept, shown and closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shared.policy import Policy
from tests.helpers.cell import Cell
from tests.helpers.fleet import Fleet, fleet_of, publish_made_up
from tests.helpers.wait import wait_until

SESSIONS = "/v2/sessions"


@pytest.fixture
async def fleet(cell: Cell, tmp_path: Path) -> AsyncIterator[Fleet]:
    """A gateway whose repository has five models of 100 bytes, one of them at half a device."""
    for name in ("a", "b", "c", "d"):
        publish_made_up(tmp_path, name)
    publish_made_up(tmp_path, "a", version=2)
    publish_made_up(tmp_path, "half", residency=Policy(fraction=0.5))
    async with fleet_of(cell, tmp_path, WARMROUTE_MAX_SESSIONS="3") as made:
        yield made


async def ref(fleet: Fleet, name: str) -> str:
    return str((await fleet.gateway.context.catalog.resolve(name)).ref)


async def opened(fleet: Fleet, *models: Any, **fields: Any) -> dict[str, Any]:
    status, headers, said = await fleet.ask("POST", SESSIONS, {"models": models, **fields})
    assert status == 201, said
    assert headers["Location"] == f"{SESSIONS}/{said['id']}"
    return said


async def test_a_session_pins_its_models_and_has_them_loaded(fleet: Fleet) -> None:
    """Held ones are ready, the others are ordered; none of them is evicted."""
    epoch = await fleet.worker()
    await fleet.have("w1", epoch, await ref(fleet, "b"))
    said = await opened(fleet, {"name": "a", "version": 1}, "b", {"name": "c", "version": "1"})
    assert [(m["name"], m["version"], m["state"]) for m in said["models"]] == [
        ("a", "1", "loading"), ("b", "1", "ready"), ("c", "1", "loading")
    ]  # fmt: skip
    assert len(await fleet.cell.orders()) == 2
    b = await ref(fleet, "b")
    assert await fleet.cell.scripts.retire("w1", epoch, b, "", "evict") == "pinned"
    assert (await fleet.ask("GET", f"{SESSIONS}/{said['id']}"))[2] == said


async def test_who_waits_is_answered_when_all_are_ready_or_have_failed(fleet: Fleet) -> None:
    """With the state of each; the session is kept meanwhile, as nobody knows it yet."""
    epoch = await fleet.worker()
    asked = asyncio.create_task(opened(fleet, "c", "b", wait=True, ttl_s=1, id="mine"))
    for name in ("b", "c"):
        await wait_until(lambda name=name: fleet_token(fleet, name))
    expiry = await fleet.cell.client.zscore(fleet.cell.keys.sessions, "mine")
    await wait_until(lambda: later(fleet, "mine", expiry))
    await fleet.hold("w1", epoch, await ref(fleet, "b"))
    await fleet.fail("w1", epoch, await ref(fleet, "c"), b"corrupt weights: not these")
    said = await asked
    assert said["models"] == [
        {"name": "c", "version": "1", "state": "failed", "error": "weights: not these",
         "code": "corrupt"},
        {"name": "b", "version": "1", "state": "ready", "workers": ["w1"]},
    ]  # fmt: skip


async def fleet_token(fleet: Fleet, name: str) -> str:
    return await fleet.cell.token(await ref(fleet, name))


async def later(fleet: Fleet, session: str, expiry: float) -> bool:
    return await fleet.cell.client.zscore(fleet.cell.keys.sessions, session) > expiry


async def test_who_waits_for_too_long_has_the_session_all_the_same(fleet: Fleet) -> None:
    """An error would hide its id."""
    await fleet.worker()
    status, _, said = await fleet.ask(
        "POST", SESSIONS, {"models": ["a"], "wait": True}, **{"Warmroute-Timeout": "0.05"}
    )
    assert (status, said["models"][0]["state"]) == (201, "loading")


async def test_what_cannot_fit_is_refused_at_once_with_the_bytes(fleet: Fleet) -> None:
    """507; beside what other sessions have pinned, and nothing is pinned or loaded of it."""
    await fleet.worker("w1", 250)
    await fleet.worker("w2", 120)
    await opened(fleet, "a", "b")
    status, headers, said = await fleet.ask("POST", SESSIONS, {"models": ["c", "d"], "id": "no"})
    assert (status, headers["Warmroute-Error"]) == (507, "does_not_fit")
    assert said["error"].startswith(
        "models: 2 need 200 bytes. Beside the models that open sessions pin, "
    )
    assert said["error"].endswith("needs 100 bytes, the most free on a worker is 50")
    assert "Retry-After" not in headers
    assert await unpinned(fleet, await ref(fleet, "c"))
    assert (await fleet.ask("GET", f"{SESSIONS}/no"))[0] == 404
    await opened(fleet, "c")


async def test_what_loads_have_shown_counts_before_what_the_manifest_says(fleet: Fleet) -> None:
    """The largest of any device class, with the shared weights; and a fraction of a device."""
    await fleet.worker(budget=1000)
    known = fleet.cell.keys.stats(await ref(fleet, "a"))
    await fleet.cell.client.hset(known, mapping={"own:cpu": 700, "own:H100": 950})
    await fleet.cell.client.expire(known, 60)
    _, _, said = await fleet.ask("POST", SESSIONS, {"models": ["a"]})
    assert "needs 1050 bytes" in said["error"]
    _, _, said = await fleet.ask("POST", SESSIONS, {"models": ["half", "b", "c", "d"]})
    row = await fleet.cell.client.hget(fleet.cell.keys.session(said["id"]), "models")
    assert row.split()[:2] == [(await ref(fleet, "half")).encode(), b"500"]


async def test_without_workers_it_says_so_and_when_to_come_back(fleet: Fleet) -> None:
    """503: the models would fit, were there anybody."""
    status, headers, said = await fleet.ask("POST", SESSIONS, {"models": ["a"]})
    assert (status, "Retry-After" in headers) == (503, True)
    assert "no worker is ready" in said["error"]


async def test_there_are_only_so_many_sessions(fleet: Fleet) -> None:
    """429 beyond the limit of the settings."""
    await fleet.worker()
    for _ in range(3):
        await opened(fleet, "a")
    status, headers, said = await fleet.ask("POST", SESSIONS, {"models": ["a"]})
    assert (status, headers["Warmroute-Error"]) == (429, "overloaded")
    assert said["error"] == "3 sessions are open, the limit; close one or retry later"


async def test_the_same_id_with_the_same_models_is_the_same_session(fleet: Fleet) -> None:
    """200, and it is kept; with other models it is refused."""
    await fleet.worker()
    first = await opened(fleet, "a", "b", id="mine", ttl_s=2)
    status, _, again = await fleet.ask(
        "POST", SESSIONS, {"models": ["b", "a"], "id": "mine", "ttl_s": 3600}
    )
    assert (status, again["models"]) == (200, first["models"])
    assert again["expires_at"] > first["expires_at"]
    status, headers, _ = await fleet.ask("POST", SESSIONS, {"models": ["b"], "id": "mine"})
    assert (status, headers["Warmroute-Error"]) == (422, "key_reused")


async def test_the_id_of_a_session_that_has_ended_is_free(fleet: Fleet) -> None:
    """Also in the moment before it is cleared away."""
    await fleet.worker()
    await opened(fleet, "a", id="mine")
    await fleet.cell.client.zadd(fleet.cell.keys.sessions, {"mine": 1})
    await opened(fleet, "b", id="mine")
    assert await fleet.cell.exists(fleet.cell.keys.pinned(await ref(fleet, "a"))) == []


async def test_a_heartbeat_moves_the_end_of_a_session(fleet: Fleet) -> None:
    """To `ttl_s` from now; without it, by as much as when it was opened."""
    await fleet.worker()
    said = await opened(fleet, "a", ttl_s=1000)
    path = f"{SESSIONS}/{said['id']}/heartbeat"
    status, _, kept = await fleet.ask("POST", path)
    assert (status, kept["id"]) == (200, said["id"])
    assert kept["expires_at"] >= said["expires_at"]
    assert (await fleet.ask("POST", path, {"ttl_s": 2000}))[2]["expires_at"] > kept["expires_at"]
    assert (await fleet.ask("POST", path, {"ttl_s": 1}))[2]["expires_at"] < said["expires_at"]


async def test_a_session_that_nobody_keeps_ends_by_itself(fleet: Fleet) -> None:
    """Then it is unknown, cannot be kept, and its models may be evicted."""
    await fleet.worker()
    said = await opened(fleet, "a", ttl_s=1)
    path = f"{SESSIONS}/{said['id']}"
    a = await ref(fleet, "a")
    assert not await unpinned(fleet, a)
    await wait_until(lambda: unpinned(fleet, a))
    assert (await fleet.ask("GET", path))[0] == 404
    assert (await fleet.ask("POST", path + "/heartbeat"))[0] == 404
    assert (await fleet.ask("DELETE", path))[0] == 404


async def unpinned(fleet: Fleet, ref: str) -> bool:
    return await fleet.cell.exists(fleet.cell.keys.pinned(ref)) == []


async def test_a_closed_session_pins_nothing(fleet: Fleet) -> None:
    """204; a second time 404."""
    epoch = await fleet.worker()
    said = await opened(fleet, "a", "b")
    for expected in (204, 404):
        assert (await fleet.ask("DELETE", f"{SESSIONS}/{said['id']}"))[0] == expected
    a = await ref(fleet, "a")
    await fleet.have("w1", epoch, a)
    assert await fleet.cell.scripts.retire("w1", epoch, a, "", "evict") != "pinned"


async def test_what_becomes_of_sessions_and_policies_is_told(fleet: Fleet) -> None:
    """In the log of events."""
    await fleet.worker()
    await opened(fleet, "a", "b", id="mine")
    await fleet.ask("DELETE", f"{SESSIONS}/mine")
    await fleet.ask("PUT", "/v2/models/a/policy", {"pin": True, "priority": None})
    await wait_until(lambda: told(fleet, 3))
    rows = [event.fields for event in await fleet.cell.stream(fleet.cell.keys.events)]
    assert [(row["kind"], row["reason"]) for row in rows] == [
        (b"session_opened", b"session mine: 2 models"),
        (b"session_closed", b"session mine: by its client"),
        (b"policy_set", b"pin 1, priority as the manifest says"),
    ]


async def told(fleet: Fleet, count: int) -> bool:
    return len(await fleet.cell.stream(fleet.cell.keys.events)) == count


async def test_one_record_that_cannot_be_read_hides_no_other(fleet: Fleet) -> None:
    """Neither of a session, which is listed with the error, nor of a worker or a model."""
    cell, keys = fleet.cell, fleet.cell.keys
    await fleet.worker()
    for name in ("x", "y", "z"):
        await opened(fleet, "a", id=name)
    await cell.client.delete(keys.session("x"))
    await cell.client.set(keys.session("x"), "of another type")
    await cell.client.hset(keys.session("y"), "models", b"\xff 1")
    await cell.worker("w9")
    await cell.client.delete(keys.worker("w9"))
    await cell.client.set(keys.worker("w9"), "of another type")
    _, _, found = await fleet.ask("GET", SESSIONS + "?limit=2")
    assert [(row["id"], "error" in row) for row in found["sessions"]] == [("x", True), ("y", True)]
    _, _, rest = await fleet.ask("GET", f"{SESSIONS}?limit=2&after={found['next']}")
    assert [row["id"] for row in rest["sessions"]] == ["z"] and "error" not in rest["sessions"][0]
    await cell.scripts.close_session("z")
    await opened(fleet, "c", id="new")
    await cell.client.delete(keys.session("x"), keys.worker("w9"))


async def test_sessions_are_listed_in_pages(fleet: Fleet) -> None:
    """By id, without states; `next` leads on."""
    await fleet.worker()
    for name in ("z", "x", "y"):
        await opened(fleet, "a", "c", id=name)
    _, _, first = await fleet.ask("GET", SESSIONS + "?limit=2")
    assert [row["id"] for row in first["sessions"]] == ["x", "y"]
    assert [model["name"] for model in first["sessions"][0]["models"]] == ["a", "c"]
    _, _, rest = await fleet.ask("GET", f"{SESSIONS}?limit=2&after={first['next']}")
    assert ([row["id"] for row in rest["sessions"]], rest["next"]) == (["z"], None)
