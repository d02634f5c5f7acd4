"""GET /v2/models/{model}/residency over HTTP: all that is known of one model."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.cell import Cell
from tests.helpers.factories import kept
from tests.helpers.gateway import RunningGateway, publish_nothing, running_gateway

PATH = "/v2/models/mnist/residency"


@pytest.fixture
async def gateway(cell: Cell, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    """A gateway that knows one model."""
    async with running_gateway(cell, publish_nothing(tmp_path)) as running:
        yield running


async def look(gateway: RunningGateway, path: str = PATH) -> dict[str, Any]:
    status, _, document = await gateway.get(path)
    assert status == 200, document
    return document


async def test_a_model_that_nobody_has_says_so(gateway: RunningGateway) -> None:
    """With the policy that its manifest gives it."""
    found = await look(gateway)
    policy = found.pop("policy")
    assert (policy["min_copies"], policy["pin"], policy["priority"]) == (0, False, 5)
    digest = (await gateway.ref()).rpartition(":")[2]
    assert found == {
        "name": "mnist", "version": "1", "digest": digest, "copies": [], "load": None,
        "waits": None, "parked": 0, "overrides": [],
        "learned": {"bytes": {}, "shared_bytes": {}, "load_ms": {}},
        "last_failure": None, "quarantine": None, "sessions": [],
        "no_capacity": False, "incompatible": [], "failed_on": [],
        "unbatched": None, "unwarmed": None, "unsteady": None,
    }  # fmt: skip


async def test_what_a_trial_has_found_is_told(cell: Cell, gateway: RunningGateway) -> None:
    """Rows that may share a batch are nothing to tell of."""
    ref = await gateway.ref()
    epoch = await cell.worker("w1", holds=[ref])
    await cell.scripts.record_stats("w1", epoch, ref, {"rows": "independent", "unwarmed": ""})
    found = await look(gateway)
    assert (found["unbatched"], found["unwarmed"], found["unsteady"]) == (None, None, None)
    said = {"rows": "it sorts", "unwarmed": "too small", "repeats": "two runs differ"}
    await cell.scripts.record_stats("w1", epoch, ref, said)
    found = await look(gateway)
    assert (found["unbatched"], found["unwarmed"]) == ("it sorts", "too small")
    assert found["unsteady"] == "two runs differ"


async def test_its_copies_are_listed_with_their_tiers(cell: Cell, gateway: RunningGateway) -> None:
    """On the device, in host memory, on disk; of the workers that live."""
    ref = await gateway.ref()
    epoch = await cell.worker("w1", holds=[ref])
    await cell.scripts.heartbeat(
        "w1", epoch, "one", 10_000, 1, {"copies": json.dumps({ref: ["device", 1, 1500, 4]})}
    )
    await cell.worker("w2")
    await cell.worker("w3", holds=[ref])
    await cell.client.zadd(cell.keys.workers, {"w3": 0})
    await cell.client.hset(cell.keys.warm(ref), "w2", "disk e")
    await cell.client.expire(cell.keys.warm(ref), 60)
    device, disk = (await look(gateway))["copies"]
    assert (device["worker"], device["tier"], device["bytes"]) == ("w1", "device", 1)
    assert 1.5 <= device["idle_s"] < 60.0 and device["hits"] == 4
    assert disk == {"worker": "w2", "tier": "disk"}


async def test_it_says_what_its_requests_wait_for(cell: Cell, gateway: RunningGateway) -> None:
    """As GET /v2/requests/{id} of one of them does."""
    ref = await gateway.ref()
    epoch = await cell.worker("w1")
    item = kept(ref=ref)
    await cell.place(item, kept(ref=ref))
    found, request = await look(gateway), await look(gateway, f"/v2/requests/{item.id}")
    assert (found["parked"], found["load"]["phase"]) == (2, "ordered")
    assert "no worker has started it yet" in found["waits"]
    assert "no worker has started it yet" in request["waits"]
    assert request["reason"] == "waits for its model to be loaded"
    await cell.claim("w1", epoch, ref)
    await cell.client.hset(cell.keys.load(ref), "why", "bert is too young to be evicted")
    found, request = await look(gateway), await look(gateway, f"/v2/requests/{item.id}")
    for said in (found["waits"], request["waits"]):
        assert "loading on worker w1 for " in said and said.endswith("too young to be evicted")


async def test_a_request_whose_load_is_not_ordered_says_that(
    cell: Cell, gateway: RunningGateway
) -> None:
    """Its order got lost: the sweep will see to it; or the last load failed, and may do better."""
    await gateway.context.handover._supervisor.stop("sweep")
    ref, item = await gateway.ref(), kept()
    item = item._replace(ref=ref)
    await cell.place(item)
    await cell.client.delete(cell.keys.load(ref))
    assert (await look(gateway, f"/v2/requests/{item.id}"))["waits"] == (
        "no worker is alive; no load is ordered yet"
    )
    await cell.client.set(cell.keys.unloadable(ref), "~store_unavailable it is away", px=60_000)
    waits = (await look(gateway, f"/v2/requests/{item.id}"))["waits"]
    assert "the last load failed (it is away); the next one is tried in " in waits


async def test_a_request_that_is_placed_waits_for_no_load(
    cell: Cell, gateway: RunningGateway
) -> None:
    """So it says nothing of the kind."""
    ref = await gateway.ref()
    await cell.worker("w1", holds=[ref])
    item = kept(ref=ref)
    await cell.place(item)
    assert "waits" not in await look(gateway, f"/v2/requests/{item.id}")


async def cannot_be_loaded(cell: Cell, ref: str) -> None:
    """As `fail_load` and `refuse_load` leave it."""
    client, keys = cell.client, cell.keys
    await client.set(keys.unloadable(ref), "load_failed no such operator", px=60_000)
    await client.set(keys.no_capacity(ref), "w1", px=60_000)
    await client.sadd(keys.incompatible(ref), "cpu")
    await client.expire(keys.incompatible(ref), 60)


async def test_what_rules_it_is_shown(cell: Cell, gateway: RunningGateway) -> None:
    """Overrides of the API, sessions, what was learned, the last failure, quarantine."""
    ref, client, keys = await gateway.ref(), cell.client, cell.keys
    await client.hset(keys.policy(ref), mapping={"min_copies": "2", "pin": "1", "wrong": "1"})
    await client.sadd(keys.pinned(ref), "s2", "s1")
    for key, fields in {
        keys.stats(ref): {"own:cpu": "10", "shared:cpu": "30", "host": "40"},
        keys.breaker(ref): {
            "crashes": "5",
            "cause": "signal 11",
            "until": str(1 << 45),
            "by": "w1 3 w2 2",
        },
        keys.failed_on(ref): {"w1": f"{1 << 45} 2 1 worker\n\ndisk_full no room", "w2": "wrong"},
    }.items():
        await client.hset(key, mapping=fields)
        await client.expire(key, 60)
    await cannot_be_loaded(cell, ref)
    found = await look(gateway)
    assert (found["policy"]["min_copies"], found["policy"]["pin"]) == (2, True)
    assert found["overrides"] == ["min_copies", "pin", "wrong"]
    assert (
        found["sessions"] == ["s1", "s2"]
        and found["incompatible"] == ["cpu"]
        and found["no_capacity"]
    )
    assert found["learned"] == {
        "bytes": {"cpu": 10}, "shared_bytes": {"cpu": 30}, "load_ms": {"host": 40.0},
    }  # fmt: skip
    assert (found["last_failure"]["code"], found["last_failure"]["passing"]) == (
        "load_failed", False
    )  # fmt: skip
    assert found["quarantine"]["open"] and found["quarantine"]["crashes"] == 5
    assert found["quarantine"]["workers"] == {"w1": 3, "w2": 2}
    first, second = found["failed_on"]
    assert (first["worker"], first["code"], first["error"]) == ("w1", "disk_full", "no room")
    assert first["times"] == 2 and first["retry_after_s"] > 0
    assert (second["worker"], second["times"], second["retry_after_s"]) == ("w2", 0, 0.0)


async def test_a_model_or_version_that_is_unknown_is_not_found(gateway: RunningGateway) -> None:
    """404, as everywhere."""
    for path in ("/v2/models/none/residency", "/v2/models/mnist/versions/2/residency"):
        status, _, document = await gateway.get(path)
        assert status == 404 and document["error"]
    assert (await look(gateway, "/v2/models/mnist/versions/1/residency"))["version"] == "1"


async def test_the_whole_fleet_is_shown_over_http(cell: Cell, gateway: RunningGateway) -> None:
    """GET /v2/residency; and the repository's index says what of it is warm."""
    ref = await gateway.ref()
    await cell.worker("w1", holds=[ref])
    report = await look(gateway, "/v2/residency")
    assert [worker["id"] for worker in report["workers"]] == ["w1"]
    async with gateway.http.post("/v2/repository/index", data=b"{}") as answer:
        (row,) = await answer.json()
    assert (row["name"], row["state"]) == ("mnist", "READY")
