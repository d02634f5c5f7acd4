"""GET /v2/models/{model}/versions, and the load that a push waits for."""

from __future__ import annotations

from pathlib import Path

from shared.repository import open_repository
from tests.helpers.cell import Cell
from tests.helpers.fleet import fleet_of, publish_made_up
from tests.helpers.wait import wait_until

PAGE = "/v2/models/bert/versions"


async def test_each_version_says_how_it_is(cell: Cell, tmp_path: Path) -> None:
    """The newest first: unreadable, unloadable, live, cold."""
    refs = {v: publish_made_up(tmp_path, "bert", version=v) for v in (1, 2, 3)}
    open_repository(tmp_path.as_uri()).put_manifest("bert", 4, b"{")
    async with fleet_of(cell, tmp_path) as fleet:
        epoch = await fleet.worker()
        await fleet.have("w1", epoch, refs[2])
        await cell.client.set(cell.keys.unloadable(refs[3]), "load_failed no operator", px=60_000)
        status, _, page = await fleet.ask("GET", PAGE)
        assert (status, page["name"], page["serves"], page["not_shown"]) == (200, "bert", "2", 0)
        rows = {row["version"]: row for row in page["versions"]}
        assert list(rows) == ["4", "3", "2", "1"]
        words = {version: (row["state"], row["live"]) for version, row in rows.items()}
        assert words == {
            "4": ("unreadable", False), "3": ("failed", False), "2": ("ready", True),
            "1": ("cold", False),
        }  # fmt: skip
        assert rows["3"]["error"] == "no operator" and "manifest of bert" in rows["4"]["error"]
        assert rows["2"]["workers"] == ["w1"] and rows["1"]["workers"] == []


async def test_a_model_that_is_not_there_is_not_found(cell: Cell, tmp_path: Path) -> None:
    """Nor is a name that no model can have."""
    publish_made_up(tmp_path, "bert")
    async with fleet_of(cell, tmp_path) as fleet:
        assert (await fleet.ask("GET", "/v2/models/nobody/versions"))[0] == 404
        assert (await fleet.ask("GET", "/v2/models/.../versions"))[0] == 400


async def test_a_load_without_a_version_is_of_the_newest(cell: Cell, tmp_path: Path) -> None:
    """Live or not: who loads it is told why it cannot be, and others go on with what is live. Once
    it is loaded, the next request gets it."""
    old = publish_made_up(tmp_path, "bert")
    async with fleet_of(cell, tmp_path, WARMROUTE_CATALOG_TTL_S="3600") as fleet:
        epoch = await fleet.worker()
        await fleet.have("w1", epoch, old)
        assert (await fleet.ask("GET", PAGE))[2]["serves"] == "1"
        new = publish_made_up(tmp_path, "bert", version=2)
        await cell.client.set(cell.keys.unloadable(new), "corrupt its hash", px=60_000)
        path = "/v2/repository/models/bert/load"
        assert (await fleet.ask("POST", path, {}))[0] == 422
        assert (await fleet.ask("GET", PAGE))[2]["serves"] == "1"
        await cell.client.delete(cell.keys.unloadable(new))
        await fleet.have("w1", epoch, new)
        assert (await fleet.ask("POST", path, {}))[0] == 200
        assert (await fleet.ask("GET", PAGE))[2]["serves"] == "2"


async def test_the_index_lists_what_can_be_read(cell: Cell, tmp_path: Path) -> None:
    """A folder that leads out of the repository is one row with the reason, and no outage."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    for name in ("a", "z"):
        publish_made_up(root, name)
    (root / "c").symlink_to(outside)
    async with fleet_of(cell, root) as fleet:
        status, _, rows = await fleet.ask("POST", "/v2/repository/index", {})
        assert status == 200 and [row["name"] for row in rows] == ["a", "c", "z"]
        assert "leads out" in rows[1]["reason"] and "version" not in rows[1]
        await fleet.worker()
        ref = publish_made_up(root, "z", version=2)
        await wait_until(lambda: _is_served(fleet, ref))


async def test_the_index_says_why_a_version_cannot_be_read(cell: Cell, tmp_path: Path) -> None:
    """As the last one who read it was told, until it can be read."""
    publish_made_up(tmp_path, "a")
    published = tmp_path / "a" / "1" / "manifest.json"
    good = published.read_bytes()
    published.write_bytes(b"{")
    async with fleet_of(cell, tmp_path) as fleet:
        assert (await fleet.ask("GET", "/v2/models/a"))[0] == 422
        (row,) = (await fleet.ask("POST", "/v2/repository/index", {}))[2]
        assert row["state"] == "UNAVAILABLE" and "truncated" in row["reason"]
        published.write_bytes(good)
        await wait_until(lambda: _is_served(fleet, "a:1:", "a"))
        (row,) = (await fleet.ask("POST", "/v2/repository/index", {}))[2]
        assert "truncated" not in row["reason"]


async def _is_served(fleet, ref: str, name: str = "z") -> bool:
    page = (await fleet.ask("GET", f"/v2/models/{name}/versions"))[2]
    return f"{name}:{page['serves']}:" == ref[:4]
