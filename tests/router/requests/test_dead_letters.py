"""Dead letters over a real Redis: listed, shown, replayed, dropped, also over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from router.catalog.cell_map import CellMap
from router.requests.dead_letters import SHOWN_BYTES, DeadLetters
from router.requests.intake import Admission
from router.rest.cells import CELLS, Cells
from router.rest.context import CONTEXT, GatewayContext
from router.rest.routes import routes
from shared.cell_list import CellAddress
from shared.envelope import Envelope, pack
from shared.errors import Conflict, NotFound
from shared.shared_memory import MARK
from tests.helpers.cell import MAX_ATTEMPTS, WIDE, Cell
from tests.helpers.factories import REF, kept, placing, tensor

ENVELOPE = Envelope([tensor(np.array([[1, 2]], "<f4"))], outputs=["y"], id="mine", priority=2)
V2 = {
    "id": "mine",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.0]}],
    "outputs": [{"name": "y"}],
    "parameters": {"priority": 2},
}


@pytest.fixture
def dead(cell: Cell) -> DeadLetters:
    """The letters of the cell; what is replayed has 30 s."""
    return DeadLetters(cell.client, cell.keys, cell.scripts, WIDE, 30.0)


@pytest.fixture
async def http(dead: DeadLetters) -> AsyncIterator[TestClient[Any, Any]]:
    """The HTTP door with nothing behind it but what these paths need."""
    app = web.Application()
    app.add_routes(routes())

    parts = SimpleNamespace(cell="a", dead_letters=dead, admission=Admission(9, 1 << 20))
    app[CONTEXT] = cast(GatewayContext, parts)
    app[CELLS] = Cells(CellMap([CellAddress("a", "")]), [app[CONTEXT]])
    async with TestClient(TestServer(app)) as client:
        yield client


async def died(cell: Cell, **changes: Any) -> str:
    """Let a request run, and its worker die, as often as is allowed; the entry of its letter."""
    await cell.place(kept(**{"body": pack(ENVELOPE), **changes}))
    for number in range(MAX_ATTEMPTS):
        epoch = await cell.worker(f"w{number}", holds=[REF])
        await cell.scripts.sweep()
        entries = await cell.read(f"w{number}")
        assert await cell.begin(f"w{number}", epoch, entries) == [b"run"]
        await cell.client.zadd(cell.keys.workers, {f"w{number}": 0})
        await cell.reap()
    return await newest(cell)


async def refused(cell: Cell, **fields: str) -> str:
    """Let a stream entry be refused; the entry of its letter."""
    entry = (await cell.client.xadd(cell.keys.ingress, fields)).decode()
    answer = ["id", "line-1", "status", "failed", "code", "not_found", "error", "no such model"]
    assert await cell.scripts.publish_reply("ingress", entry, "", 1000, True, answer)
    return await newest(cell)


async def newest(cell: Cell) -> str:
    return (await cell.client.xrevrange(cell.keys.dead_letters, count=1))[0][0].decode()


async def written(cell: Cell, count: int = 1, **fields: Any) -> list[str]:
    """Letters as the scripts write them, oldest first."""
    usual = {
        "kind": "request", "id": "a" * 32, "model": REF, "cause": "dead_lettered it died",
        "worker": "w1", "attempts": 3, "fingerprint": "f00", "body": pack(ENVELOPE),
    }  # fmt: skip
    given: Any = {**usual, **fields}
    return [(await cell.client.xadd(cell.keys.dead_letters, given)).decode() for _ in range(count)]


async def test_a_request_that_killed_its_workers_is_shown_with_what_was_asked(
    cell: Cell, dead: DeadLetters
) -> None:
    """Cause, last worker, attempts, fingerprint, when, and the inputs as V2 JSON."""
    request = kept(body=pack(ENVELOPE))
    entry = await died(cell, id=request.id)
    shown = (await dead.get(entry)).full_document()
    assert shown["request"] == V2
    assert (shown["kind"], shown["id"], shown["model"]) == ("request", request.id, "mnist")
    assert (shown["version"], shown["worker"], shown["attempts"]) == ("1", "w2", 3)
    assert (shown["code"], shown["error"][:14]) == ("dead_lettered", "after 3 starts")
    assert len(shown["fingerprint"]) == 40 and shown["payload_bytes"] == len(pack(ENVELOPE))
    assert shown["died"].startswith("20") and shown["died"].endswith("Z")


async def test_a_stream_entry_that_was_no_request_is_shown_as_it_was_sent(
    cell: Cell, dead: DeadLetters
) -> None:
    """Its fields, its body, and why it was refused."""
    sent = {"id": "line-1", "model": "nobody", "version": "7", "timeout": "5"}
    entry = await refused(cell, **sent, body='{"inputs": []}')
    shown = (await dead.get(entry)).full_document()
    assert (shown["kind"], shown["model"], shown["version"]) == ("entry", "nobody", "7")
    assert (shown["code"], shown["error"]) == ("not_found", "no such model")
    assert (shown["id"], shown["timeout"], shown["request"]) == ("line-1", "5", {"inputs": []})
    assert "worker" not in shown


async def test_a_letter_that_another_hand_wrote_hides_no_other(
    cell: Cell, dead: DeadLetters, http: TestClient[Any, Any]
) -> None:
    """What cannot be read of it is left out: a count that is none, a name that is no text, a time
    that no calendar has."""
    whole = (await written(cell))[0]
    await written(cell, attempts="many")
    await cell.client.xadd(cell.keys.dead_letters, {b"\xff": "x", "kind": "request"})
    await cell.client.xadd(cell.keys.dead_letters, {"kind": "entry"}, id="9" * 18 + "-1")
    answer = await (await http.get("/v2/dead")).json()
    assert len(answer["letters"]) == 4 and answer["letters"][-1]["entry"] == whole
    for letter in answer["letters"]:
        assert (await http.get(f"/v2/dead/{letter['entry']}")).status == 200


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"body": MARK + b"gw-0/1.in"}, "shared memory"),
        ({"body": b"\x93garbage"}, "cannot be read"),
        ({"body": b"x" * (SHOWN_BYTES + 1)}, "bytes"),
        ({"kind": "entry", "body": b'{"inputs": ['}, "cannot be read"),
        ({"kind": "entry", "body": b"[" * 5000}, "cannot be read"),
        ({"body": pack(Envelope([tensor(np.zeros((1, 2), "<f2"))]))}, "no JSON form"),
    ],
)
async def test_a_payload_that_cannot_be_shown_says_why(
    cell: Cell, dead: DeadLetters, fields: dict[str, Any], reason: str
) -> None:
    """The letter itself is shown all the same."""
    (entry,) = await written(cell, **fields)
    shown = (await dead.get(entry)).full_document()
    assert reason in shown["request_error"] and "request" not in shown
    assert shown["payload_bytes"] == len(fields["body"])


async def test_letters_of_odd_bytes_are_listed(cell: Cell, dead: DeadLetters) -> None:
    """Whoever can write to the door decides what is in them."""
    (entry,) = await written(cell, model=b"\xff" * 5000, cause=b"", id=b"\x00", attempts=b"")
    (letter,), _ = await dead.newest(10)
    shown = letter.document()
    assert (shown["entry"], shown["attempts"], len(shown["model"])) == (entry, 0, 1024)


async def test_pages_follow_each_other_newest_first(
    cell: Cell, dead: DeadLetters, http: TestClient[Any, Any]
) -> None:
    """Without payloads; `next` is where the following page begins, and the last page has none."""
    entries = (await written(cell, 25))[::-1]
    pages, after = [], ""
    while after is not None:
        answer = await http.get("/v2/dead", params={"limit": "10", "after": after})
        page = await answer.json()
        pages.append([letter["entry"] for letter in page["letters"]])
        assert all("request" not in letter for letter in page["letters"])
        after = page["next"]
    assert pages == [entries[:10], entries[10:20], entries[20:]]
    assert [letter.body for letter in (await dead.newest(3))[0]] == [b"", b"", b""]


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "ten", "1" * 5000])
async def test_a_limit_out_of_range_is_refused(http: TestClient[Any, Any], limit: str) -> None:
    """400, naming the range."""
    answer = await http.get("/v2/dead", params={"limit": limit})
    said = (await answer.json())["error"]
    assert (answer.status, said.partition(";")[0]) == (400, "limit: want 1 to 1000")


@pytest.mark.parametrize("entry", ["1-1", "1700000000000-0", "+", "-", "x", "1-", "9" * 19 + "-0"])
async def test_an_unknown_letter_is_404_to_every_verb(
    http: TestClient[Any, Any], entry: str
) -> None:
    """Also what is no entry id, and would mean something else to Redis."""
    for verb, path in (("GET", entry), ("POST", f"{entry}/replay"), ("DELETE", entry)):
        assert (await http.request(verb, f"/v2/dead/{path}")).status == 404


async def test_a_letter_is_dropped_once(cell: Cell, http: TestClient[Any, Any]) -> None:
    """204, then 404; its neighbours stay."""
    first, second = await written(cell, 2)
    assert (await http.delete(f"/v2/dead/{first}")).status == 204
    assert (await http.delete(f"/v2/dead/{first}")).status == 404
    assert await newest(cell) == second


async def test_a_replayed_request_has_a_new_id_and_can_be_polled(
    cell: Cell, http: TestClient[Any, Any]
) -> None:
    """202 with its Location; payload intact, no attempts; and the letter is gone."""
    request = kept(body=pack(ENVELOPE))
    entry = await died(cell, id=request.id)
    await cell.worker("fresh", holds=[REF])

    answer = await http.post(f"/v2/dead/{entry}/replay")

    assert answer.status == 202
    new_id = (await answer.json())["id"]
    assert answer.headers["Location"] == f"/v2/requests/{new_id}" and new_id != request.id
    (work,) = await cell.read("fresh")
    assert (work.fields["id"].decode(), work.fields["attempts"]) == (new_id, b"0")
    assert work.fields["body"] == pack(ENVELOPE)
    assert (await cell.record(new_id))["status"] == b"placed"
    assert await cell.client.xlen(cell.keys.dead_letters) == 0
    assert (await http.post(f"/v2/dead/{entry}/replay")).status == 404


async def test_a_replayed_stream_entry_goes_back_into_the_door(
    cell: Cell, http: TestClient[Any, Any]
) -> None:
    """With its own fields; it has no request id yet, so there is no Location."""
    fields = {"model": "mnist", "body": "{}", "reply_to": "answers"}
    entry = await refused(cell, **fields)
    answer = await http.post(f"/v2/dead/{entry}/replay")
    assert (answer.status, "Location" in answer.headers) == (202, False)
    (back,) = await cell.stream(cell.keys.ingress)
    assert {name: back.fields[name].decode() for name in fields} == fields
    assert await cell.client.xlen(cell.keys.dead_letters) == 0


async def test_a_letter_whose_tensors_were_in_shared_memory_cannot_be_replayed(
    cell: Cell, dead: DeadLetters
) -> None:
    """They went with the caller who waited; the letter stays for the operator."""
    entry = await died(cell, reply="gw1", flags="", body=MARK + b"gw-000000000000/1.in")
    with pytest.raises(Conflict):
        await dead.replay(entry)
    assert await newest(cell) == entry


async def test_a_replay_is_bounded_like_any_request(
    cell: Cell, http: TestClient[Any, Any], dead: DeadLetters
) -> None:
    """429 with Retry-After when the queue is full, and the letter is still there."""
    entry = await died(cell)
    await cell.worker("fresh", holds=[REF])
    await cell.place(placing())
    dead._limits = WIDE._replace(work=1)
    answer = await http.post(f"/v2/dead/{entry}/replay")
    assert answer.status == 429 and int(answer.headers["Retry-After"]) >= 1
    assert await newest(cell) == entry


async def test_a_letter_that_was_never_there_cannot_be_replayed(dead: DeadLetters) -> None:
    """NotFound, as for one that somebody else has just replayed."""
    with pytest.raises(NotFound):
        await dead.replay("1-1")
