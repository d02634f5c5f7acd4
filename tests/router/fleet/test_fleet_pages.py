"""The fleet, a page at a time: nothing is left out or doubled, and the event loop goes on."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from router.fleet import asking, fleet_pages
from router.fleet.fleet_pages import FleetQuery
from router.fleet.place import Place
from shared.errors import InvalidInput
from tests.helpers.cell import Cell
from tests.helpers.decoded_pages import DecodedPages
from tests.helpers.factories import OTHER_REF, REF, placing
from tests.helpers.made_up_fleet import made_up_fleet


def pages_of(cell: Cell) -> DecodedPages:
    return DecodedPages(cell.channel, cell.keys)


async def all_pages(cell: Cell, **query: Any) -> list[dict[str, Any]]:
    """Page by page to the end."""
    pages, found = pages_of(cell), []
    after = ""
    while True:
        page = await pages.report(FleetQuery(after=after, **query))
        found.append(page)
        if page["next"] is None:
            return found
        assert page["next"] != after
        after = page["next"]


async def test_pages_have_each_worker_once_and_totals_of_the_whole_fleet(cell: Cell) -> None:
    """Also of the copies on workers of other pages, below the device too."""
    for number in range(7):
        await cell.worker(f"w{number}", holds=[REF, OTHER_REF][: 1 + number % 2])
    epoch = await cell.worker("w9")
    warm = {"w9": f"host {epoch}", "w8": "disk of-a-dead-worker", "w1": "host of-before"}
    await cell.client.hset(cell.keys.warm(REF), mapping=warm)
    await cell.client.expire(cell.keys.warm(REF), 60)
    whole = await pages_of(cell).report()
    pages = await all_pages(cell, limit=3)
    assert [len(page["workers"]) for page in pages] == [3, 3, 2]
    assert [row for page in pages for row in page["workers"]] == whole["workers"]
    mnist = {"device": 7, "host": 1, "disk": 0}
    for page in pages:
        by_name = {row["name"]: row for row in page["models"]}
        assert by_name["mnist"]["copies"] == mnist
        assert all(row in whole["models"] for row in page["models"])


async def test_filters(cell: Cell) -> None:
    """By the start of a model's name, worker, and state of workers."""
    await cell.worker("w1", holds=[REF])
    epoch = await cell.worker("w2", holds=[OTHER_REF, REF])
    await cell.scripts.heartbeat("w2", epoch, "one", 10_000, 0, {"state": "draining"})
    await cell.place(placing(ref="berta:1:0123456789ab"))

    async def seen(**query: Any) -> tuple[list[str], list[str]]:
        page = await pages_of(cell).report(FleetQuery(**query))
        return [w["id"] for w in page["workers"]], [m["name"] for m in page["models"]]

    assert await seen(prefix="ber") == (["w2"], ["bert", "berta"])
    assert await seen(prefix="berta") == ([], ["berta"])
    assert await seen(worker="w1") == (["w1"], ["mnist"])
    assert await seen(worker="w") == ([], [])
    assert await seen(state="draining") == (["w2"], ["bert", "mnist"])
    assert await seen(state="starting") == ([], [])


async def test_a_page_ends_at_its_copies(cell: Cell, monkeypatch) -> None:
    """And the models that no worker holds come after the workers, on pages of their own."""
    monkeypatch.setattr(fleet_pages, "MOST_COPIES", 25)
    monkeypatch.setattr(fleet_pages, "WORKERS_AT_ONCE", 2)
    monkeypatch.setattr(asking, "SCANNED", 10)
    refs = [f"m{number}:1:0123456789ab" for number in range(10)]
    for number in range(6):
        await cell.worker(f"w{number}", holds=refs)
    waiting = [f"p{number}:1:0123456789ab" for number in range(600)]
    await cell.client.sadd(cell.keys.parked_refs, *waiting[:400])
    await cell.client.sadd(cell.keys.min_copies, *waiting[300:])
    pages = await all_pages(cell)
    assert [len(page["workers"]) for page in pages][:2] == [4, 2]
    assert [row["id"] for page in pages for row in page["workers"]] == [f"w{n}" for n in range(6)]
    names = {row["name"] for page in pages for row in page["models"]}
    assert names == {ref.partition(":")[0] for ref in refs + waiting}
    assert len(pages) > 10


@pytest.mark.parametrize(
    "after", ["x", "w", "====", "é", "a" * 500, str(Place("x", "w1")), str(Place("p", "-1")),
              str(Place("p", "9" * 30)), str(Place("w", "a\nb")), str(Place("p", "1e3"))],
)  # fmt: skip
async def test_a_place_that_no_page_gave_is_refused(cell: Cell, after: str) -> None:
    """Naming the parameter and the way out."""
    with pytest.raises(InvalidInput, match=r"after: .*without it: the first page"):
        await pages_of(cell).report(FleetQuery(after=after))


async def test_a_worker_that_left_between_two_pages_hides_no_other(cell: Cell) -> None:
    """The place is a name, whether it is there or not."""
    for number in range(4):
        await cell.worker(f"w{number}")
    first = await pages_of(cell).report(FleetQuery(limit=2))
    await cell.client.zrem(cell.keys.workers, "w1")
    second = await pages_of(cell).report(FleetQuery(after=first["next"]))
    assert [row["id"] for row in second["workers"]] == ["w2", "w3"]


async def longest_stop(work: Coroutine[Any, Any, Any]) -> tuple[Any, float, float]:
    """Its result, how long it took, and for how long the event loop did nothing else, at most: in
    seconds of this thread's CPU, as other processes are none of its business."""
    worst, ended = 0.0, False

    async def watch() -> None:
        nonlocal worst
        while not ended:
            began = time.thread_time()
            await asyncio.sleep(0)
            worst = max(worst, time.thread_time() - began)

    watcher, began = asyncio.create_task(watch()), time.thread_time()
    result = await work
    took, ended = time.thread_time() - began, True
    await watcher
    return result, took, worst


async def test_the_loop_goes_on_beside_a_large_page(cell: Cell) -> None:
    """1,000 workers with 20 copies each: it stands still for a small part of the whole call."""
    await made_up_fleet(cell, workers=1000, copies=20, models=5000)
    gc.collect()
    gc.freeze()  # as a gateway does with what it starts with
    try:
        page, took, worst = await longest_stop(pages_of(cell).report())
    finally:
        gc.unfreeze()
    assert len(page["workers"]) == 1000
    assert sum(len(worker["models"]) for worker in page["workers"]) == 20_000
    print(json.dumps({"took_s": round(took, 3), "longest_stop_ms": round(worst * 1000, 1)}))
    assert worst < took / 10
