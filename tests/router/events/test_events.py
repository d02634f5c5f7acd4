"""GET /v2/events as pages of JSON."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from router.events import pages as module
from router.events.pages import is_gap
from shared.events import Event
from tests.helpers.cell import Cell
from tests.helpers.factories import OTHER_REF, REF
from tests.helpers.following import write, write_many
from tests.helpers.gateway import RunningGateway, publish_nothing, running_gateway


@pytest.fixture
async def gateway(cell: Cell, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    """A gateway to ask."""
    async with running_gateway(cell, publish_nothing(tmp_path)) as running:
        yield running


async def page(gateway: RunningGateway, query: str = "") -> tuple[list[int], dict[str, Any]]:
    """The numbers of the events on a page, and the page."""
    status, _, document = await gateway.get(f"/v2/events{query}")
    assert status == 200, document
    return [event["bytes"] for event in document["events"]], document


async def test_without_events_a_page_is_empty(gateway: RunningGateway) -> None:
    """And one may go on from it."""
    assert await page(gateway) == ([], {"events": [], "last": "0-0", "gap": False})


async def test_a_page_is_the_last_events_newest_last(cell: Cell, gateway: RunningGateway) -> None:
    """As many as asked for, 100 if not said."""
    ids = await write_many(cell, 130)
    assert (await page(gateway, "?limit=3"))[0] == [127, 128, 129]
    found, document = await page(gateway)
    assert found == list(range(30, 130)) and document["last"] == ids[-1]


async def test_pages_follow_each_other(cell: Cell, gateway: RunningGateway) -> None:
    """`last` is the `since` of the next one; nothing is twice or missing."""
    await write_many(cell, 25)
    seen, since = [], "0"
    for size in (10, 10, 5, 0):
        found, document = await page(gateway, f"?limit=10&since={since}")
        assert len(found) == size
        seen += found
        since = document["last"]
    assert seen == list(range(25))
    await write_many(cell, 1, first=99)
    assert (await page(gateway, f"?since={since}"))[0] == [99]


async def test_an_event_is_shown_with_all_it_tells(cell: Cell, gateway: RunningGateway) -> None:
    """Kind, when, who, which model, from which tier to which, why, bytes and seconds."""
    event = Event(
        kind="demoted", worker="w1", ref=REF, tier_from="device", tier_to="host",
        reason="room for bert", bytes=20, bytes_regained=18, seconds=0.5,
    )  # fmt: skip
    (entry,) = await write(cell, event)
    (shown,) = (await page(gateway))[1]["events"]
    assert shown.pop("time").endswith("Z")
    assert shown == {
        "id": entry, "kind": "demoted", "worker": "w1", "model": "mnist", "version": "1",
        "tier_from": "device", "tier_to": "host", "reason": "room for bert", "bytes": 20,
        "bytes_regained": 18, "seconds": 0.5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("model=mnist", [0, 1, 4]), ("model=mnist:1", [0, 1, 4]), ("model=mnist:2", []),
        ("model=bert:2", [2, 3]), ("worker=w2", [1, 3]), ("kind=evicted", [3]),
        ("kind=evicted,refused", [3, 4]), ("kind=evicted&kind=refused", [3, 4]),
        ("model=bert&worker=w1", [2]), ("worker=w9", []),
    ],
)  # fmt: skip
@pytest.mark.parametrize("since", ["", "&since=0"])
async def test_events_can_be_chosen(
    cell: Cell, gateway: RunningGateway, query: str, numbers: list[int], since: str
) -> None:
    """By model, with or without version, by worker and by kinds; all that is given must be so."""
    await write(
        cell,
        Event(kind="loaded", worker="w1", ref=REF, bytes=0),
        Event(kind="loaded", worker="w2", ref=REF, bytes=1),
        Event(kind="loaded", worker="w1", ref=OTHER_REF, bytes=2),
        Event(kind="evicted", worker="w2", ref=OTHER_REF, bytes=3),
        Event(kind="refused", worker="w1", ref=REF, bytes=4),
    )
    assert (await page(gateway, f"?{query}{since}"))[0] == numbers


@pytest.mark.parametrize("since", ["", "&since=0"])
async def test_a_rare_event_is_found_however_far_back(
    cell: Cell, gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch, since: str
) -> None:
    """Over as many reads as it takes; the page ends where the log does."""
    monkeypatch.setattr(module, "AT_ONCE", 7)
    (rare,) = await write_many(cell, 1, first=1000, kind="evicted")
    ids = await write_many(cell, 50)
    found, document = await page(gateway, f"?kind=evicted{since}")
    assert found == [1000] and document["last"] == ids[-1]
    assert document["events"][0]["id"] == rare


async def test_a_time_may_be_said_in_several_ways(cell: Cell, gateway: RunningGateway) -> None:
    """An id, a moment, so long ago by Redis's clock."""
    await cell.client.xadd(cell.keys.events, {"kind": "loaded", "bytes": 0}, id="1704164645678-0")
    await cell.client.xadd(cell.keys.events, {"kind": "loaded", "bytes": 1}, id="1704164646000-0")
    await write_many(cell, 1, first=2)
    for since, numbers in {
        "1704164645678-0": [1, 2], "1704164645678": [1, 2], "1704164645677": [0, 1, 2],
        "2024-01-02T03:04:06Z": [1, 2], "2024-01-02T03:04:05Z": [0, 1, 2],
        "2024-01-02T03:04:07Z": [2], "5m": [2], "99999d": [0, 1, 2],
    }.items():  # fmt: skip
        assert (await page(gateway, f"?since={since}"))[0] == numbers, since


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("kind=exploded", "kind"), ("kind=", "kind"), ("kind=loaded,", "kind"),
        ("since=yesterday", "since"), ("since=", "since"), ("since=-1", "since"),
        ("since=1-99999999999999999999", "since"), ("since=5w", "since"),
        ("since=2026-13-01T00:00:00Z", "since"), ("limit=0", "limit"), ("limit=1001", "limit"),
        ("limit=ten", "limit"), ("limit=", "limit"), ("model=", "model"), ("model=a/b", "model"),
        ("model=bert:x", "model"), ("model=bert:0", "model"), ("worker=", "worker"),
        ("worker=" + "w" * 257, "worker"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_what_cannot_be_asked_is_refused_by_its_name(
    gateway: RunningGateway, query: str, field: str, accept: str
) -> None:
    """400 that begins with the field, as a page and as a stream."""
    async with gateway.http.get(f"/v2/events?{query}", headers={"Accept": accept}) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"].startswith(f"{field}: ")


async def test_a_bad_last_event_id_is_named(gateway: RunningGateway) -> None:
    """It is a header."""
    async with gateway.http.get("/v2/events", headers={"Last-Event-ID": "x"}) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"].startswith("Last-Event-ID: ")


async def test_asking_for_the_head_alone_ends(gateway: RunningGateway) -> None:
    """Also of the stream, which has no end."""
    async with gateway.http.head("/v2/events", headers={"Accept": "text/event-stream"}) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("position", "oldest", "length", "gap"),
    [
        ((5, 0), (9, 0), 10_000, True), ((5, 0), (9, 0), 9_999, False),
        ((9, 0), (9, 0), 10_000, False), ((0, 0), (9, 0), 10_000, False),
        ((8, 7), (9, 0), 10_050, True), ((5, 0), (0, 0), 0, False),
    ],
)  # fmt: skip
def test_a_gap_is_where_a_full_log_begins_later(
    position: tuple[int, int], oldest: tuple[int, int], length: int, gap: bool
) -> None:
    """A log that is not full has dropped nothing; who asks for all that is kept gets it."""
    assert is_gap(position, oldest, length) == gap
