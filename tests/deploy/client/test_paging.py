"""Lists of a large cell: the client follows the pages, and joins what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from warmroute import AsyncClient, BadResponse, Client

if TYPE_CHECKING:
    from tests.deploy.conftest import Stub

W1, W2, W3 = ({"id": f"w{n}", "models": [], "warm": []} for n in (1, 2, 3))
A, B = ({"name": name, "version": "1", "digest": "d"} for name in "ab")
PAGES = {
    "": {"workers": [W1, W2], "models": [A | {"parked": 1}], "loads": [], "next": "x"},
    "x": {"workers": [W3], "models": [A | {"parked": 2}, B], "loads": [A], "next": "y"},
    "y": {"workers": [], "models": [], "loads": [], "next": None},
}
ROWS = {"": (["a", "b"], "x"), "x": ([], "y"), "y": (["c"], None)}


@pytest.fixture
def large(stub: Stub) -> Stub:
    """Its fleet and its index take three pages each. `asked`: what it was asked for."""

    async def fleet(request: web.Request) -> web.Response:
        return web.json_response(PAGES[request.query.get("after", "")])

    async def index(request: web.Request) -> web.Response:
        names, follows = ROWS[request.query.get("after", "")]
        headers = {} if follows is None else {"Warmroute-Next": follows}
        return web.json_response([{"name": name} for name in names], headers=headers)

    stub.answer("GET", "/v2/residency", fleet)
    stub.answer("POST", "/v2/repository/index", index)
    return stub


def test_all_pages_are_read(large: Stub) -> None:
    """Workers one after the other; a model or a load once, as the last page has it."""
    with Client(large.url) as client:
        whole = client.residency(state="ready")
        assert whole["workers"] == [W1, W2, W3] and "next" not in whole
        assert whole["models"] == [A | {"parked": 2}, B] and whole["loads"] == [A]
        assert [row["id"] for row in client.workers()] == ["w1", "w2", "w3"]
        assert [row["name"] for row in client.models(prefix="x")] == ["a", "b", "c"]


async def test_all_pages_are_read_with_asyncio(large: Stub) -> None:
    """As above."""
    async with AsyncClient(large.url) as client:
        assert [row["id"] for row in (await client.residency())["workers"]] == ["w1", "w2", "w3"]
        assert [row["id"] for row in await client.workers(worker="w1")] == ["w1", "w2", "w3"]
        assert [row["name"] for row in await client.models(ready=True)] == ["a", "b", "c"]


def test_a_page_that_is_followed_by_itself_is_an_error(stub: Stub) -> None:
    """Not a loop without an end."""

    async def fleet(request: web.Request) -> web.Response:
        return web.json_response({"workers": [], "models": [], "loads": [], "next": "x"})

    stub.answer("GET", "/v2/residency", fleet)
    with Client(stub.url, retries=0) as client, pytest.raises(BadResponse, match="x"):
        client.workers()
