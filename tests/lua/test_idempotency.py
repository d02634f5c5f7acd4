"""place with an idempotency key: the same question is one request, another one is refused."""

from __future__ import annotations

import asyncio
import re

import pytest

from shared.errors import WarmrouteError, _tree
from shared.script_runner import load_source
from shared.scripts import Placing
from tests.helpers.cell import Cell, open_cell
from tests.helpers.factories import REF, kept


def keyed(**changes: str) -> Placing:
    """A kept request with key `k` that asks `f`."""
    return kept(**{"key": "k", "fingerprint": "f", **changes})


async def test_the_second_joins_the_first(cell: Cell) -> None:
    """Also in one batch; nothing is placed twice."""
    await cell.worker("w1", holds=[REF])
    first = keyed()
    rows = await cell.place(first, keyed())
    rows += await cell.place(keyed())
    assert [row.status for row in rows] == ["placed", "joined", "joined"]
    assert {row.detail for row in rows[1:]} == {first.id}
    assert await cell.client.xlen(cell.keys.work("w1")) == 1


async def test_another_question_under_the_key_is_refused(cell: Cell) -> None:
    """Another key asks what it likes."""
    await cell.place(keyed())
    rows = await cell.place(keyed(fingerprint="g"), keyed(key="other", fingerprint="g"))
    assert [row.status for row in rows] == ["mismatch", "parked"]


async def test_a_hundred_at_once_over_many_connections_are_one(cell: Cell) -> None:
    """The key is looked up and kept in the step that accepts."""
    others = [open_cell(cell.url, cell.name) for _ in range(10)]
    calls = [own.place(*(keyed() for _ in range(10))) for own in others]
    rows = [row for rows in await asyncio.gather(*calls) for row in rows]
    for own in others:
        await own.close()
    assert sorted(row.status for row in rows) == ["joined"] * 99 + ["parked"]
    assert len({row.detail for row in rows if row.status == "joined"}) == 1
    assert await cell.client.xlen(cell.keys.parked(REF)) == 1


async def test_what_was_refused_is_not_remembered(cell: Cell) -> None:
    """It may be asked again when there is room."""
    await cell.client.set(cell.keys.unloadable(REF), "corrupt x", px=1000)
    assert [row.status for row in await cell.place(keyed())] == ["unloadable"]
    await cell.client.delete(cell.keys.unloadable(REF))
    assert [row.status for row in await cell.place(keyed())] == ["parked"]


async def test_the_outcome_can_be_read_while_it_is_kept(cell: Cell) -> None:
    """Afterwards it is gone; the key still stands for it, a day long."""
    epoch = await cell.worker("w1", holds=[REF])
    item = keyed()
    await cell.place(item)
    await cell.complete("w1", epoch, await cell.read())
    assert [row.status for row in await cell.place(keyed())] == ["joined"]
    await cell.client.delete(cell.keys.request(item.id))
    (row,) = await cell.place(keyed())
    assert (row.status, row.detail) == ("gone", item.id)
    assert await cell.scripts.subscribe(item.id, "") == {"gone": b"1"}
    assert await cell.cancel(item.id) == "gone"


async def test_each_producer_gets_its_answer_once(cell: Cell) -> None:
    """One that wrote the same entry twice, another, and one that came after the end."""
    epoch = await cell.worker("w1", holds=[REF])
    await cell.place(keyed(reply_to="a"), keyed(reply_to="a"), keyed(reply_to="b"))
    await cell.complete("w1", epoch, await cell.read())
    await cell.place(keyed(reply_to="c"))
    told = [entry.fields["to"] for entry in await cell.stream(cell.keys.outbox)]
    assert told == [b"a", b"b", b"c"]


async def test_a_joined_entry_leaves_the_door(cell: Cell) -> None:
    """In the step that joins it."""
    await cell.gateway()
    entries = [(await cell.client.xadd(cell.keys.ingress, {"n": n})).decode() for n in range(2)]
    rows = await cell.place(*(keyed(ingress=entry) for entry in entries))
    assert [row.status for row in rows] == ["parked", "joined"]
    assert await cell.client.xlen(cell.keys.ingress) == 0


@pytest.mark.parametrize(
    ("status", "outcome", "again"),
    [
        ("failed", b"model_failed no", "joined"),
        ("failed", b"dead_lettered it killed", "joined"),
        ("failed", b"store_unavailable away", "placed"),
        ("expired", b"expired too late", "placed"),
    ],
)
async def test_a_passing_failure_frees_the_key(
    cell: Cell, status: str, outcome: bytes, again: str
) -> None:
    """Who was told to come back is a new request then, and not told the same for ever."""
    epoch = await cell.worker("w1", holds=[REF])
    await cell.place(keyed())
    await cell.complete("w1", epoch, await cell.read(), status, outcome)
    assert [row.status for row in await cell.place(keyed())] == [again]


async def test_a_cancelled_key_is_free(cell: Cell) -> None:
    """Its request will never have an answer."""
    item = keyed()
    await cell.place(item)
    await cell.cancel(item.id)
    assert [row.status for row in await cell.place(keyed())] == ["parked"]


def test_the_ends_that_may_pass_are_those_that_can_be_retried() -> None:
    """As the tree of errors says; and a cancelled request, which may be asked anew."""
    listed = re.search(r"PASSING = \{(.+?)\}", load_source("complete"), re.DOTALL)
    assert listed
    codes = {code for code, kind in _tree(WarmrouteError).items() if kind.retryable}
    said_by_gateways_only = {"outcome_unknown"}
    inside_a_worker = {"device_out_of_memory"}
    never_an_end = said_by_gateways_only | inside_a_worker
    listed_codes = set(re.findall(r"(\w+) = true", listed[1]))
    assert listed_codes == codes - never_an_end | {"cancelled"}


async def test_a_repeated_place_does_not_bring_a_cancelled_request_back(cell: Cell) -> None:
    """Its answer was lost, and the request has freed its key since."""
    item = keyed()
    await cell.place(item)
    await cell.cancel(item.id)
    (row,) = await cell.place(item)
    assert (row.status, row.detail) == ("joined", item.id)
    assert (await cell.record(item.id))["status"] == b"cancelled"


async def test_a_stream_entry_that_joins_gives_its_own_id_to_the_answer(cell: Cell) -> None:
    """The first was asked over HTTP and had none."""
    first = keyed()
    await cell.place(first, keyed(reply_to="a", caller_id="mine"))
    assert (await cell.record(first.id))["caller_id"] == b"mine"
