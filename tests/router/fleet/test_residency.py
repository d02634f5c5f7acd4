"""What the fleet holds, as people and readiness see it."""

from __future__ import annotations

import json
import time
from typing import Any

from router.fleet.health import Health
from router.fleet.reader import ResidencyReader
from shared.names import ModelRef
from shared.repository import Listed
from shared.service import Supervisor
from tests.helpers.cell import Cell
from tests.helpers.decoded_pages import DecodedPages
from tests.helpers.factories import OTHER_REF, REF, placing

THIRD_REF = "gpt:3:0000000000aa"


MODELS = [Listed("bert", (2,)), Listed("mnist", (1,))]


def pages_of(cell: Cell) -> DecodedPages:
    return DecodedPages(cell.channel, cell.keys)


def residency_of(cell: Cell) -> ResidencyReader:
    return ResidencyReader(cell.channel, cell.keys)


async def beat(cell: Cell, worker: str, epoch: str, **fields: Any) -> None:
    """A heartbeat that reports `fields`; `copies` as JSON."""
    if "copies" in fields:
        fields["copies"] = json.dumps(fields["copies"])
    await cell.scripts.heartbeat(worker, epoch, "one", 10_000, 0, fields)


async def test_the_report_lists_workers_and_what_each_holds(cell: Cell) -> None:
    """In order, with tier, bytes, since when and the length of the queue."""
    await cell.worker("w2", holds=[OTHER_REF, REF])
    epoch = await cell.worker("w1")
    await beat(
        cell, "w1", epoch, budget_bytes=100, used_bytes=40, host_budget_bytes=50, host_used_bytes=5,
        service_ms=2.5, busy_share=0.25, max_models=8, shared_bytes=30, reserved_bytes=4,
        device_class="NVIDIA_H100", health="suspect", health_reason="its disk is full",
        error_share=0.5, failing=json.dumps([REF]),
    )  # fmt: skip
    await cell.place(placing(), placing())
    first, second = (await pages_of(cell).report())["workers"]
    assert first == {
        "id": "w1", "device": "cpu", "class": "NVIDIA_H100", "state": "ready", "budget_bytes": 100,
        "used_bytes": 40, "shared_bytes": 30, "reserved_bytes": 4, "host_budget_bytes": 50,
        "host_used_bytes": 5, "queue": 0,
        "health": "suspect", "health_reason": "its disk is full", "error_share": 0.5,
        "failing": [REF],
        "service_ms": 2.5, "busy": 0.25, "max_models": 8, "models": [], "warm": [],
    }  # fmt: skip
    assert (second["id"], second["queue"], second["max_models"]) == ("w2", 2, None)
    assert [(m["name"], m["version"], m["tier"], m["bytes"]) for m in second["models"]] == [
        ("bert", "2", "device", 1), ("mnist", "1", "device", 1)
    ]  # fmt: skip
    since = time.strptime(second["models"][0]["since"], "%Y-%m-%dT%H:%M:%SZ")
    assert since.tm_year >= 2024


async def test_a_worker_tells_how_much_each_copy_is_used(cell: Cell) -> None:
    """Last use and hits, in its heartbeat; and what it keeps below the device."""
    epoch = await cell.worker("w1", holds=[REF])
    copies = {REF: ["device", 1, 2500, 7], OTHER_REF: ["host", 20, 60_000, 3]}
    await beat(cell, "w1", epoch, copies=copies)
    (worker,) = (await pages_of(cell).report())["workers"]
    (held,), (warm,) = worker["models"], worker["warm"]
    assert (held["name"], held["hits"], held["copies"]) == ("mnist", 7, 1)
    assert held["last_used"] > "2024"
    assert (warm["name"], warm["tier"], warm["bytes"], warm["copies"]) == ("bert", "host", 20, 0)
    assert 2.5 <= held["idle_s"] < 60.0 <= warm["idle_s"] < 120.0


async def test_how_long_a_copy_is_idle_counts_from_its_report(cell: Cell) -> None:
    """A worker at rest does not repeat it; of an older release it is as reported."""
    epoch, now = await cell.worker("w1", holds=[REF]), await cell.client.time()
    await beat(cell, "w1", epoch, copies={REF: ["device", 1, 2500, 7]})

    async def idle_s(copies_at: int) -> float:
        """As if the report were from then."""
        await cell.client.hset(cell.keys.worker("w1"), "copies_at", copies_at)
        (worker,) = (await pages_of(cell).report())["workers"]
        idle: float = worker["models"][0]["idle_s"]
        return idle

    assert 52.5 <= await idle_s(now[0] * 1000 - 50_000) < 110.0
    assert await idle_s(now[0] * 1000 + 600_000) == await idle_s(0) == 2.5


async def test_own_and_shared_bytes_of_each_copy_are_shown(cell: Cell) -> None:
    """And with how many others on that worker; before its worker has told there is only a sum."""
    epoch = await cell.worker("w1", holds=[OTHER_REF, REF])
    parts = {REF: [5, 90, 2]}
    await beat(cell, "w1", epoch, copy_bytes=json.dumps(parts))
    (worker,) = (await pages_of(cell).report())["workers"]
    bert, mnist = worker["models"]
    assert (mnist["bytes"], mnist["own_bytes"], mnist["shared_bytes"]) == (95, 5, 90)
    assert mnist["shared_with"] == 2
    assert bert["bytes"] == 1 and not {"own_bytes", "shared_bytes", "shared_with"} & bert.keys()


async def test_what_a_worker_reports_wrongly_is_left_out(cell: Cell) -> None:
    """The map is shown all the same."""
    epoch = await cell.worker("w1", holds=[REF])
    for said in ("{", "[]", '{"mnist": 5}', "null", '{"mnist": [1, 2]}'):
        await beat(cell, "w1", epoch, budget="much", used="")
        wrong = {"copies": said, "copy_bytes": said}
        await cell.client.hset(cell.keys.worker("w1"), mapping=wrong)
        (worker,) = (await pages_of(cell).report())["workers"]
        assert worker["budget_bytes"] == 0
        assert [(m["name"], m["tier"]) for m in worker["models"]] == [("mnist", "device")]


async def test_what_one_member_has_in_another_form_hides_no_other(cell: Cell) -> None:
    """Keys of another type and names of another form, as another release might have them."""
    epoch, keys = await cell.worker("w1", holds=[REF, OTHER_REF]), cell.keys
    await cell.worker("w2", holds=[REF])
    await cell.client.sadd(keys.holds("w2"), "no-ref", "a:b:c", b"\xff")
    await beat(cell, "w1", epoch, copies={"no-ref": ["disk", 1, 2, 3]})
    await cell.client.zadd(keys.workers, {"w3": time.time() * 1000 + 60_000})
    await cell.client.set(keys.worker("w3"), "another type", ex=60)
    await cell.client.sadd(keys.parked_refs, THIRD_REF, "no-ref")
    for key in (keys.holders(OTHER_REF), keys.parked(THIRD_REF)):
        await cell.client.set(key, "another type", ex=60)
    report = await pages_of(cell).report()
    assert [worker["id"] for worker in report["workers"]] == ["w1", "w2"]
    assert [m["name"] for worker in report["workers"] for m in worker["models"]] == ["mnist"] * 2
    assert ("mnist", 1) in await residency_of(cell).held(MODELS)
    health = Health(cell.channel, keys, Supervisor([]))
    document = await health.document()
    assert document["ready"] and document["states"] == {"ready": 2, "unknown": 1}


async def test_copies_that_were_noted_below_the_device_are_shown(cell: Cell) -> None:
    """Disk outlives the process; host memory goes with its epoch."""
    epoch = await cell.worker("w1")
    await cell.worker("w2", holds=[REF])
    warm = cell.keys.warm(REF)
    await cell.client.hset(warm, mapping={"w1": "disk of-before", "w9": f"disk {epoch}"})
    await cell.client.expire(warm, 60)
    first, *_ = (await pages_of(cell).report())["workers"]
    assert [(m["name"], m["tier"]) for m in first["warm"]] == [("mnist", "disk")]
    await cell.client.hset(warm, "w1", "host of-before")
    assert (await pages_of(cell).report())["workers"][0]["warm"] == []
    await cell.client.hset(warm, "w1", f"host {epoch}")
    report = await pages_of(cell).report()
    assert report["workers"][0]["warm"][0]["tier"] == "host"
    assert report["models"][0]["copies"] == {"device": 1, "host": 1, "disk": 0}


async def test_totals_say_how_many_copies_a_model_has_and_what_pins_it(cell: Cell) -> None:
    """By the API or its manifest, or by sessions; and its priority, where Redis knows it."""
    await cell.worker("w1", holds=[REF, OTHER_REF])
    await cell.worker("w2", holds=[REF])
    await cell.client.sadd(cell.keys.pinned(REF), "s1", "s2")
    await cell.client.hset(cell.keys.policy(OTHER_REF), mapping={"pin": "0", "priority": "2"})
    await cell.client.hset(cell.keys.stats(OTHER_REF), "pin", "1")
    await cell.client.expire(cell.keys.stats(OTHER_REF), 60)
    report = await pages_of(cell).report()
    bert, mnist = report["models"]
    assert (mnist["copies"]["device"], mnist["pinned"], mnist["sessions"]) == (2, True, 2)
    assert (bert["copies"]["device"], bert["pinned"]) == (1, False)
    row = report["workers"][0]["models"][0]
    assert (row["name"], row["priority"], row["pinned"], row["copies"]) == ("bert", 2, False, 1)


async def test_loads_in_flight_say_where_they_are_and_what_they_wait_for(cell: Cell) -> None:
    """Ordered, or loading on a worker; with the requests that wait."""
    epoch = await cell.worker("w1")
    await cell.place(placing(), placing(), placing(ref=OTHER_REF))
    token = await cell.claim("w1", epoch)
    await cell.client.hset(cell.keys.load(REF), "why", "no copy may be evicted yet")
    report = await pages_of(cell).report()
    ordered, loading = report["loads"]
    assert (ordered["name"], ordered["phase"]) == ("bert", "ordered")
    assert "no worker has started it yet" in ordered["waits"]
    assert (loading["name"], loading["phase"], loading["worker"]) == ("mnist", "loading", "w1")
    assert loading["why"] == "no copy may be evicted yet"
    assert "loading on worker w1" in loading["waits"] and loading["why"] in loading["waits"]
    assert [model["parked"] for model in report["models"]] == [1, 2]
    assert token not in str(report)  # it is the right to load


async def test_an_empty_cell_has_an_empty_report(cell: Cell) -> None:
    """And is no error."""
    assert await pages_of(cell).report() == {
        "workers": [], "models": [], "loads": [], "next": None
    }  # fmt: skip
    assert await residency_of(cell).held(MODELS) == set()


async def test_a_worker_whose_lease_ran_out_is_not_shown(cell: Cell) -> None:
    """Nor counted as a holder."""
    await cell.worker("w1", holds=[REF])
    residency = residency_of(cell)
    assert (await residency.readiness(ModelRef.parse(REF))).warm
    assert await residency.held(MODELS) == {("mnist", 1)}
    await cell.client.zadd(cell.keys.workers, {"w1": 0})
    assert await residency.held(MODELS) == set()
    assert not (await residency.readiness(ModelRef.parse(REF))).warm


async def test_a_model_nobody_holds_is_cold(cell: Cell) -> None:
    """Also if another version of it is warm."""
    await cell.worker("w1", holds=[REF])
    residency = residency_of(cell)
    assert not (await residency.readiness(ModelRef.parse(OTHER_REF))).warm
    assert not (await residency.readiness(ModelRef("mnist", 2, "0123456789ab"))).warm
