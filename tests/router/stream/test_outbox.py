"""Outcomes of streamed requests, rendered into the stream that the producer named."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest

from router.stream import outbox as module
from router.stream.outbox import Outbox
from shared.channel import Channel
from shared.envelope import Outcome, pack
from tests.helpers.factories import REF, kept, tensor

ANSWER = Outcome([tensor(np.array([[1, 2]], "<f4"), "y")], "mine")
HALF = Outcome([tensor(np.array([1.5], "<f2"), "y")], "mine")


@pytest.fixture
async def outbox(parts):
    """The outbox of gateway gw1."""
    channel = Channel(parts.cell.url)
    yield Outbox(channel, parts.cell.keys, parts.cell.scripts, "gw1", parts.processes)
    await channel.aclose()


async def finish(parts, status: str, outcome: bytes) -> str:
    """A streamed request that ended; its id."""
    epoch = await parts.cell.worker("w1", holds=[REF])
    item = kept(reply_to="answers", caller_id="mine")
    await parts.cell.place(item)
    await parts.cell.complete("w1", epoch, await parts.cell.read("w1"), status, outcome)
    return item.id


async def take(outbox: Outbox) -> int:
    """Read what was pending, then what is new."""
    return await outbox.run_once() + await outbox.run_once()


async def test_a_success_is_a_v2_response(parts, outbox) -> None:
    """With who ran it, and the producer's id; the stream has a lifetime, the outbox is empty."""
    request_id = await finish(parts, "succeeded", pack(ANSWER))
    assert await take(outbox) == 1
    (answer,) = await parts.cell.stream("answers")
    body = json.loads(answer.fields.pop("body"))
    assert answer.fields == {
        "request": request_id.encode(), "status": b"succeeded", "model": b"mnist", "worker": b"w1",
        "id": b"mine",
    }  # fmt: skip
    assert body["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]
    assert await parts.cell.client.pttl("answers") > 0
    assert await parts.cell.client.xlen(parts.cell.keys.outbox) == 0


@pytest.mark.parametrize("status", ["failed", "expired"])
async def test_a_failure_says_why(parts, outbox, status: str) -> None:
    """Code and message, and the producer's id to match it by."""
    await finish(parts, status, b"model_failed it raised")
    await take(outbox)
    (answer,) = await parts.cell.stream("answers")
    assert answer.fields.items() >= {
        "status": status.encode(), "code": b"model_failed", "error": b"it raised", "id": b"mine"
    }.items()  # fmt: skip


async def test_what_json_cannot_say_is_an_error_with_the_id(parts, outbox) -> None:
    """The outcome itself can still be polled."""
    request_id = await finish(parts, "succeeded", pack(HALF))
    await take(outbox)
    (answer,) = await parts.cell.stream("answers")
    assert (answer.fields["id"], answer.fields["code"]) == (b"mine", b"invalid")
    assert (await parts.records.get(request_id)).succeeded() == HALF


async def test_a_cancelled_request_is_answered_too(parts, outbox) -> None:
    """Whoever took it back, the producer waits for an answer."""
    item = kept(reply_to="answers")
    await parts.cell.place(item)
    await parts.cell.cancel(item.id)
    await take(outbox)
    assert [a.fields["status"] for a in await parts.cell.stream("answers")] == [b"cancelled"]


async def test_an_outcome_that_is_no_longer_kept_is_said_to_be_gone(parts, outbox) -> None:
    """No silence, and the outbox goes on."""
    request_id = await finish(parts, "succeeded", pack(ANSWER))
    await parts.cell.client.delete(parts.cell.keys.request(request_id))
    await parts.cell.client.xadd(parts.cell.keys.outbox, {"garbage": b"\xff"})
    assert await take(outbox) == 2
    (answer,) = await parts.cell.stream("answers")
    assert answer.fields.items() >= {"request": request_id.encode(), "code": b"gone"}.items()
    assert await parts.cell.client.xlen(parts.cell.keys.outbox) == 0


async def test_each_producer_of_one_key_gets_its_own_answer(parts, outbox) -> None:
    """Who joined before the end, and who came after it, each on the stream it named; once."""
    epoch = await parts.cell.worker("w1", holds=[REF])
    first, second, third = (
        kept(reply_to=to, caller_id="k", key="k", fingerprint="f") for to in ("one", "two", "three")
    )
    assert [p.status for p in await parts.cell.place(first, second)] == ["placed", "joined"]
    await parts.cell.complete("w1", epoch, await parts.cell.read("w1"), outcome=pack(ANSWER))
    assert [p.status for p in await parts.cell.place(third)] == ["joined"]
    assert await take(outbox) == 3
    for stream in ("one", "two", "three"):
        (answer,) = await parts.cell.stream(stream)
        assert (answer.fields["request"], answer.fields["id"]) == (first.id.encode(), b"k")
    await parts.cell.client.delete("one", "two", "three")


async def test_an_outcome_that_is_garbage_does_not_stop_the_outbox(parts, outbox) -> None:
    """The producer is told that it cannot be read; the next one is answered."""
    await finish(parts, "succeeded", b"\xff garbage")
    await finish(parts, "succeeded", pack(ANSWER))
    assert await take(outbox) == 2
    first, second = await parts.cell.stream("answers")
    assert first.fields["code"] == b"internal"
    assert "body" in second.fields


async def test_large_outcomes_are_answered_a_few_at_a_time(parts, outbox, monkeypatch) -> None:
    """However many have ended, those in memory together have a bounded size."""
    monkeypatch.setattr(module, "BATCH_BYTES", 3 * len(pack(ANSWER)))
    together, most, subscribe = 0, 0, parts.cell.scripts.subscribe

    async def watched(*given):
        nonlocal together, most
        together += 1
        most = max(most, together)
        answer = await subscribe(*given)
        await asyncio.sleep(0.01)
        together -= 1
        return answer

    monkeypatch.setattr(outbox._scripts, "subscribe", watched)
    await parts.cell.worker("w1", holds=[REF])
    for _ in range(10):
        await parts.cell.place(kept(reply_to="answers", caller_id="mine"))
    epoch = await parts.cell.client.hget(parts.cell.keys.worker("w1"), "epoch")
    entries = await parts.cell.read("w1")
    await parts.cell.complete("w1", epoch.decode(), entries, "succeeded", pack(ANSWER))
    await take(outbox)
    assert len(await parts.cell.stream("answers")) == 10
    assert most == 3


async def test_an_outcome_that_cannot_be_read_does_not_block_those_behind_it(parts, outbox) -> None:
    """Its producer is told that it is gone."""
    broken = await finish(parts, "succeeded", pack(ANSWER))
    await parts.cell.client.delete(parts.cell.keys.request(broken))
    await parts.cell.client.set(parts.cell.keys.request(broken), "a text", px=600_000)
    await finish(parts, "succeeded", pack(ANSWER))
    await take(outbox)
    answers = await parts.cell.stream("answers")
    assert sorted(row.fields["status"] for row in answers) == [b"gone", b"succeeded"]
    assert await parts.cell.client.xlen(parts.cell.keys.outbox) == 0
