"""The repository index and the fleet over HTTP: pages, filters, and parameters that are made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from router.catalog.listing import Listing
from router.rest.endpoints import listings
from router.rest.endpoints.sessions import SESSION
from shared.repository import Listed
from tests.helpers.cell import Cell
from tests.helpers.fleet import Fleet, fleet_of, publish_made_up

INDEX = "/v2/repository/index"


async def pages(fleet: Fleet, query: str, method: str = "POST") -> list[list[dict[str, Any]]]:
    """Page after page to the end."""
    found, after = [], ""
    while True:
        path = f"{INDEX if method == 'POST' else '/v2/models'}?{query}{after}"
        status, headers, rows = await fleet.ask(method, path)
        assert status == 200, rows
        found.append(rows)
        if listings.NEXT not in headers:
            return found
        after = f"&after={headers[listings.NEXT]}"


async def test_the_index_is_paged_and_filtered(cell: Cell, tmp_path: Path, monkeypatch) -> None:
    """Each version once; all versions of a model on one page; without parameters all of it."""
    monkeypatch.setattr(listings, "LOOKED_AT", 2)
    refs = [publish_made_up(tmp_path, f"m{number}") for number in range(7)]
    publish_made_up(tmp_path, "m3", version=2)
    publish_made_up(tmp_path, "other")
    async with fleet_of(cell, tmp_path) as fleet:
        epoch = await fleet.worker()
        for ref in (refs[1], refs[5]):
            await fleet.have("w1", epoch, ref)
        (whole,) = await pages(fleet, "")
        assert [row["name"] for row in whole if row["state"] == "READY"] == ["m1", "m5"]
        assert len(whole) == 9
        for method in ("POST", "GET"):
            parts = await pages(fleet, "limit=3", method)
            assert [len(part) for part in parts] == [3, 3, 3]
            assert [row for part in parts for row in part] == whole
        some = await pages(fleet, "limit=1&prefix=m")
        assert [row for part in some for row in part] == [r for r in whole if r["name"] < "n"]
        ready = await pages(fleet, "limit=1&state=READY")
        assert [row["name"] for part in ready for row in part] == ["m1", "m5"]
        assert [len(part) for part in await pages(fleet, "prefix=zzz")] == [0]
        _, _, rows = await fleet.ask("POST", f"{INDEX}?limit=5", {"ready": True})
        assert [row["name"] for row in rows] == ["m1", "m5"]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=-1", "limit=20000", "limit=1e3", "limit=", "after=x", "after=%00",
              "prefix=a/b", "prefix=..", f"prefix={'a' * 200}", "state=warm"],
)  # fmt: skip
async def test_made_up_parameters_are_refused(cell: Cell, tmp_path: Path, query: str) -> None:
    """Naming the parameter, what it may be, and the way out."""
    name = query.partition("=")[0]
    async with fleet_of(cell, tmp_path) as fleet:
        for method, path in (("POST", INDEX), ("GET", "/v2/models"), ("GET", "/v2/residency")):
            status, _, said = await fleet.ask(method, f"{path}?{query}")
            assert status == 400 and said["error"].startswith(f"{name}: want "), (path, said)
            assert "without it" in said["error"]


LISTS = {
    "/v2/requests": "after", "/v2/sessions": "after", "/v2/dead": "after", "/v2/events": "since",
    "/v2/models": "after", "/v2/residency": "after",
}  # fmt: skip
LIMITS = ("0", "-1", "1e9", "00000000199999999", "", "+1", "1.0", "٣", "%00", "9" * 5000)
PLACES = ("x", "0-0x", "%0a", "٣-0", "-1", "é", "'", "a" * 5000, "b.1")


async def test_every_list_refuses_made_up_limits_and_places(cell: Cell, tmp_path: Path) -> None:
    """Each with the name of the parameter, what it may be, and nothing else harmed."""
    async with fleet_of(cell, tmp_path) as fleet:
        for path, place in LISTS.items():
            for name, values in (("limit", LIMITS), (place, PLACES)):
                for value in values:
                    if path == "/v2/sessions" and name == place and SESSION.fullmatch(value):
                        continue  # the place is an id, whether there is such a session or not
                    status, _, said = await fleet.ask("GET", f"{path}?{name}={value}")
                    where = (path, name, value[:20], said)
                    assert status == 400, where
                    assert said["error"].startswith(f"{name}: want "), where
                    assert len(said["error"]) < 300, where
            assert (await fleet.ask("GET", path))[0] == 200


async def test_a_target_that_is_too_long_is_refused(cell: Cell, tmp_path: Path) -> None:
    """Before it reaches a list; the gateway goes on."""
    async with fleet_of(cell, tmp_path) as fleet:
        async with fleet.gateway.http.get(f"/v2/residency?after={'a' * 10_000}") as answer:
            assert (answer.status, "error" in await answer.text()) == (400, True)
        assert (await fleet.ask("GET", "/v2/residency"))[0] == 200


async def test_places_of_another_list_are_refused(cell: Cell, tmp_path: Path) -> None:
    """Each list takes its own only; sessions too."""
    for name in ("a", "b"):
        publish_made_up(tmp_path, name)
    async with fleet_of(cell, tmp_path) as fleet:
        for worker in ("w1", "w2"):
            await fleet.worker(worker)
        _, headers, _ = await fleet.ask("POST", f"{INDEX}?limit=1")
        _, _, page = await fleet.ask("GET", "/v2/residency?limit=1")
        crossed = [
            ("GET", f"/v2/residency?after={headers[listings.NEXT]}"),
            ("POST", f"{INDEX}?after={page['next']}"),
            ("GET", "/v2/sessions?after=%0a"),
        ]
        for method, path in crossed:
            status, _, said = await fleet.ask(method, path)
            assert (status, said["error"][:6]) == (400, "after:"), (path, said)


def test_a_page_of_a_listing() -> None:
    """From behind a name, whether it is there or not; within a prefix; nothing is left out."""
    listing = Listing([Listed(name, (1,)) for name in ("a", "b-1", "b-2", "b-3", "c")])

    def names(after: str, prefix: str, most: int) -> tuple[str, str | None]:
        rows, follows = listing.page(after, prefix, most)
        return " ".join(row.name for row in rows), follows

    assert names("", "", 2) == ("a b-1", "b-1")
    assert names("b-1", "", 2) == ("b-2 b-3", "b-3")
    assert names("b-3", "", 2) == ("c", None)
    assert names("aa", "", 9) == ("b-1 b-2 b-3 c", None)
    assert names("", "b", 2) == ("b-1 b-2", "b-2")
    assert names("b-2", "b", 2) == ("b-3", None)
    assert names("c", "b", 2) == ("", None)
    assert names("", "b", 3) == ("b-1 b-2 b-3", "b-3")
    assert Listing([]).page("", "", 3) == ([], None)
