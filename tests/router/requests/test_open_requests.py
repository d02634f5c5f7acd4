"""The list of requests that have not ended: whole, in order, and a page at a time."""

from __future__ import annotations

import pytest

from router.requests.open_requests import OpenRequests
from shared.errors import InvalidInput
from tests.helpers.cell import Cell
from tests.helpers.factories import REF, kept


@pytest.fixture
def listed(cell: Cell) -> OpenRequests:
    return OpenRequests(cell.client, cell.keys)


async def submit(cell: Cell, count: int) -> list[str]:
    """So many requests, with deadlines that some share."""
    items = [kept()._replace(timeout_ms=60_000 + 10_000 * (number // 3)) for number in range(count)]
    await cell.place(*items)
    return [item.id for item in items]


async def all_of(listed: OpenRequests, limit: int) -> list[str]:
    """Page after page."""
    found, after = [], ""
    while True:
        page = await listed.page(limit, after)
        found += [row["id"] for row in page.rows]
        if page.next is None:
            return found
        after = page.next


@pytest.mark.parametrize("limit", [1, 2, 5, 100])
async def test_every_one_is_on_a_page_once(cell: Cell, listed: OpenRequests, limit: int) -> None:
    """The nearest deadline first, also where several have the same."""
    await cell.worker("w1", holds=[REF])
    ids = await submit(cell, 8)
    found = await all_of(listed, limit)
    assert sorted(found) == sorted(ids)
    assert [ids.index(one) // 3 for one in found] == sorted(ids.index(one) // 3 for one in found)


async def test_a_row_says_what_becomes_of_it(cell: Cell, listed: OpenRequests) -> None:
    """Of one that waits for its model, and of none that has ended."""
    first, second = await submit(cell, 2)
    assert await cell.cancel(first) == "cancelled"
    (row,) = (await listed.page(10)).rows
    assert (row["id"], row["status"], row["model"]) == (second, "queued", REF.split(":")[0])
    assert "waits" in row["reason"] and row["deadline"].endswith("Z")


async def test_a_page_goes_on_where_its_last_one_has_ended(
    cell: Cell, listed: OpenRequests
) -> None:
    """Nothing is left out."""
    ids = await submit(cell, 7)
    page = await listed.page(4)
    last = page.rows[-1]["id"]
    await cell.cancel(last)
    assert page.next is not None
    rest = [row["id"] for row in (await listed.page(10, page.next)).rows]
    assert set(ids) - {last} <= {row["id"] for row in page.rows} | set(rest)


@pytest.mark.parametrize("after", ["x", "1", "1-2", "-", "9" * 40 + "-" + "a" * 32])
async def test_a_place_that_is_none_is_refused(listed: OpenRequests, after: str) -> None:
    """It names the parameter."""
    with pytest.raises(InvalidInput, match="after"):
        await listed.page(10, after)
