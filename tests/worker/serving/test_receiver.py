"""Requests that were read and cannot be in hand yet: put off, read again, never lost or doubled."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import pytest

from shared import clock
from shared.channel import Channel
from shared.envelope import Envelope, pack
from shared.errors import Unavailable
from shared.manifest import Batching
from shared.worker_scripts import Completion
from tests.helpers.cell import MAX_ATTEMPTS, Cell
from tests.helpers.factories import OTHER_REF, REF, placing, tensor
from tests.helpers.wait import wait_until
from worker.membership import Membership
from worker.serving import receiver as module
from worker.serving.batcher import Batcher
from worker.serving.completions import Completions
from worker.serving.inflight import InflightWindow
from worker.serving.receiver import Receiver

LARGE = 1000  # bytes of a request of the flood
WINDOW = 8 * LARGE


class Reader:
    """Worker w1 with two models. It reads, and answers what the test says."""

    def __init__(self, cell: Cell, reads: Channel) -> None:
        self.cell, self.batcher = cell, Batcher()
        self.member = Membership(
            cell.scripts, "w1", 10.0, MAX_ATTEMPTS, dict, lambda: {REF: 0, OTHER_REF: 0}
        )  # fmt: skip
        for ref in (REF, OTHER_REF):
            self.batcher.open(ref, Batching(max_size=1))
        self.inflight = InflightWindow(1000, WINDOW, models=lambda: self.batcher.models)
        completions = Completions(cell.scripts, self.member, self.inflight.release)
        self.receiver = Receiver(
            reads, cell.keys, self.member, self.batcher, self.inflight, completions
        )
        self.answered: list[str] = []

    async def send(self, number: int, ref: str = REF, size: int = LARGE) -> list[str]:
        """Requests of so many bytes; their ids."""
        body = pack(Envelope([tensor(np.zeros(size, "u1"))]))
        items = [placing(ref=ref, body=body) for _ in range(number)]
        await self.cell.place(*items)
        return [item.id for item in items]

    async def read(self, times: int = 200) -> None:
        """Read, as often as there is something to read."""
        for _ in range(times):
            if not await self.receiver.receive_once():
                return

    async def answer(self) -> None:
        """Answer one request, of the model whose turn it is."""
        turn, _ = self.batcher.next(clock.monotonic())
        assert turn is not None
        for request in turn.requests:
            self.answered.append(request.id.decode())
            done = Completion(request.entry, request.id, b"", b"", "succeeded", b"")
            await self.cell.scripts.complete("w1", self.member.epoch, [done])
            self.inflight.release([request.entry])


@pytest.fixture
async def reader(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Reader]:
    """Registered; a read of an empty stream does not wait."""
    monkeypatch.setattr(module, "BLOCK_MS", 1)
    monkeypatch.setattr(module, "READ_ANYWAY_S", 3600.0)
    reads = Channel(cell.url)
    made = Reader(cell, reads)
    await made.member.register()
    await made.receiver.receive_once()  # of what it had before: nothing
    yield made
    await reads.aclose()


async def read_of_the_stream(reader: Reader) -> int:
    """How many entries were given out."""
    keys = reader.cell.keys
    return int((await reader.cell.client.xpending(keys.work("w1"), reader.member.epoch))["pending"])


async def test_the_flood_of_one_model_does_not_keep_its_neighbour_waiting(reader: Reader) -> None:
    """However many large requests stand before the neighbour's on the stream."""
    await reader.send(60)
    await reader.send(1, OTHER_REF, 1)
    await reader.read()
    assert reader.batcher.waiting(OTHER_REF) == 1 and reader.batcher.waiting(REF) == 60
    assert reader.inflight.put_off > 50 and reader.inflight.bytes <= WINDOW


async def test_an_id_that_comes_back_begins_a_new_epoch(reader: Reader) -> None:
    """Redis has lost what this worker runs under that id. The other request is placed again, and
    the late outcome is that of neither."""
    await reader.send(1)
    await reader.read()
    client, stream, epoch = reader.cell.client, reader.cell.keys.work("w1"), reader.member.epoch
    ((entry, fields),) = await client.xrange(stream)
    await client.delete(stream)
    await client.xgroup_create(stream, epoch, id="0", mkstream=True)
    await client.xadd(stream, {**fields, b"id": b"other"}, id=entry)
    await reader.receiver.receive_once()
    assert reader.member.epoch != epoch
    await wait_until(lambda: is_there(reader, b"other"))
    await reader.answer()
    assert await is_there(reader, b"other")


async def is_there(reader: Reader, request: bytes) -> bool:
    """Whether a request is on a stream of the cell."""
    keys, client = reader.cell.keys, reader.cell.client
    streams = [keys.work("w1"), keys.parked(REF)]
    rows = [row for stream in streams for row in await client.xrange(stream)]
    return any(fields[b"id"] == request for _, fields in rows)


async def test_without_a_neighbour_the_rest_of_a_flood_stays_on_the_stream(reader: Reader) -> None:
    """It would be read twice. So it does when the neighbour was served."""
    await reader.send(1)
    await reader.read()
    await reader.send(60)
    await reader.read()
    few = await read_of_the_stream(reader)
    assert few < 16
    await reader.send(1, OTHER_REF, 1)
    await reader.read()
    assert await read_of_the_stream(reader) == 62


async def test_all_are_answered_once_and_each_model_in_its_order(reader: Reader) -> None:
    """What was put off and what was read at once."""
    first = await reader.send(20)
    other = await reader.send(3, OTHER_REF)
    await reader.read()
    first += await reader.send(20)
    while len(reader.answered) < 43:
        await reader.answer()
        await reader.read(2)
    assert [one for one in reader.answered if one in first] == first
    assert [one for one in reader.answered if one in other] == other
    assert await reader.cell.client.xlen(reader.cell.keys.work("w1")) == 0
    assert (len(reader.inflight), reader.inflight.bytes, reader.inflight.put_off) == (0, 0, 0)


async def test_what_is_cancelled_or_moved_meanwhile_is_forgotten(reader: Reader) -> None:
    """The copy is free then, and can be evicted."""
    await reader.send(12)
    await reader.send(1, OTHER_REF, 1)
    await reader.read()
    held = [entry for entry, _ in await reader.cell.client.xrange(reader.cell.keys.work("w1"))]
    late = [entry for entry in held if entry in reader.inflight._later]
    assert late
    await reader.cell.client.xdel(reader.cell.keys.work("w1"), *late)
    while reader.batcher.waiting(REF):
        await reader.answer()
        await reader.read(2)
    assert len(reader.answered) == 13 - len(late) and reader.inflight.put_off == 0
    reader.batcher.close(REF)


async def test_a_read_that_failed_loses_and_doubles_nothing(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of new entries, and of those that are read again."""
    sent = await reader.send(30)
    await reader.send(1, OTHER_REF, 1)
    ask, failing = reader.receiver._channel.execute_command, {"XRANGE", "XREADGROUP", "HGETALL"}

    async def unreliable(*args: object) -> object:
        answer = await ask(*args)  # it ran, and its answer is lost
        if args[0] in failing:
            failing.discard(str(args[0]))
            raise Unavailable("no answer")
        return answer

    monkeypatch.setattr(reader.receiver._channel, "execute_command", unreliable)
    while len(reader.answered) < 31:
        try:
            await reader.read(2)
        except Unavailable:
            continue
        if not reader.batcher.idle:
            await reader.answer()
    assert not failing
    assert [one for one in reader.answered if one in sent] == sent


async def test_a_copy_that_drains_has_the_stream_read_past_a_flood(reader: Reader) -> None:
    """Its eviction does not wait for the neighbour's backlog; that of the flood's own copy does."""
    await reader.send(1)
    await reader.read()
    await reader.send(60)
    await reader.read()
    last = await reader.cell.scripts.retire("w1", reader.member.epoch, OTHER_REF)
    assert not reader.receiver.caught_up(last.encode(), clock.monotonic())

    async def caught_up() -> bool:
        await reader.receiver.receive_once()
        return reader.receiver.caught_up(last.encode(), clock.monotonic())

    await wait_until(caught_up)
    assert reader.answered == [] and reader.batcher.waiting(REF) == 61


async def test_a_count_that_is_wrong_delays_a_neighbour_for_a_moment(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for as long as the flood lasts."""
    await reader.send(1)
    await reader.read()
    await reader.send(60)
    await reader.send(1, OTHER_REF, 1)
    await reader.cell.client.delete(reader.cell.keys.queued("w1"))
    await reader.read()
    assert reader.batcher.waiting(OTHER_REF) == 0
    monkeypatch.setattr(module, "READ_ANYWAY_S", -1.0)
    await reader.read()
    assert reader.batcher.waiting(OTHER_REF) == 1


async def test_a_new_epoch_may_begin_with_smaller_ids(reader: Reader) -> None:
    """Redis's clock was set back: what the last epoch has read says nothing of this one."""
    await reader.send(1)
    await reader.read()
    assert reader.receiver.caught_up(b"1-0", clock.monotonic())
    reader.member.epoch = "another"
    assert not reader.receiver.caught_up(b"1-0", clock.monotonic())
