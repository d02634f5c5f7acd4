"""An entry of the work stream in a worker's hands."""

from __future__ import annotations

from collections import deque
from contextlib import suppress

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.envelope import Envelope, Tensor, pack
from shared.errors import InvalidInput, Unavailable
from shared.manifest import Batching
from tests.helpers.cell import Cell
from tests.helpers.factories import REF, placing, tensor
from worker.serving.batcher import ModelQueue, take_batch
from worker.serving.queued_request import FIELDS, QueuedRequest, decode

GOOD = {
    b"id": b"f" * 32, b"model": REF.encode(), b"deadline": b"1763822000000", b"reply": b"gw1",
    b"flags": b"kp", b"attempts": b"0",
    b"body": pack(Envelope([tensor(np.zeros((3, 2), "<f4"))], ["y"], "mine")),
}  # fmt: skip


def read(**changes: bytes) -> QueuedRequest:
    fields = GOOD | {name.encode(): value for name, value in changes.items()}
    return decode(b"1-1", [part for pair in fields.items() for part in pair])


async def test_what_a_gateway_placed_is_read(cell: Cell) -> None:
    """Through the real script and stream."""
    await cell.worker("w1", holds=[REF])
    envelope = Envelope([tensor(np.arange(6, dtype="<i8").reshape(3, 2), "a")], ["y"], "mine")
    item = placing(body=pack(envelope), reply="gw7")
    (placed,) = await cell.place(item)
    answer = await cell.channel.execute_command(
        "XREADGROUP", "GROUP", await cell.epoch("w1"), "w1", "STREAMS", cell.keys.work("w1"), ">"
    )
    entry, flat = answer[0][1][0]
    work = decode(entry, flat)
    assert (work.entry.decode(), work.id.decode(), work.ref) == (placed.entry, item.id, REF)
    assert (work.deadline_ms, work.reply, work.flags) == (placed.deadline_ms, b"gw7", b"")
    assert (work.attempts, work.isolated) == (0, False)
    assert work.envelope == envelope
    assert (work.items, work.size, work.signature) == (3, 48, (("a", "INT64", (2,)),))


def test_requests_alike_have_the_same_signature_whatever_their_batch() -> None:
    """Names, types and inner shapes count; values and rows do not."""
    bodies = [pack(Envelope([tensor(np.full((n, 2), n, "<f4"))], id=str(n))) for n in (1, 2)]
    one, two = (read(body=body) for body in bodies)
    assert one.signature == two.signature
    assert (one.items, two.items) == (1, 2)


def test_requests_with_other_optional_inputs_do_not_share_a_batch() -> None:
    """Their columns would not match; those that leave out the same ones are joined."""
    x, scale = tensor(np.zeros((1, 2), "<f4")), tensor(np.ones((1, 1), "<f4"), "scale")
    bare, full, again = (read(body=pack(Envelope(inputs))) for inputs in ([x], [x, scale], [x]))
    queue = ModelQueue(REF, Batching(max_size=4), waiting=deque([bare, full, again]))
    assert [take_batch(queue), take_batch(queue)] == [[bare, again], [full]]


def test_a_scalar_is_one_item() -> None:
    """It has no first dimension."""
    body = pack(Envelope([Tensor("x", "FP32", [], memoryview(bytes(4)))]))
    assert read(body=body).items == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"deadline": b""}, {"deadline": b"soon"}, {"deadline": b"1e3"}, {"deadline": b"\xff"},
        {"attempts": b""}, {"attempts": b"-1"}, {"attempts": b"many"}, {"attempts": b"1.5"},
        {"model": b"\xff\xfe"}, {"body": b""}, {"body": b"garbage"}, {"body": b"\x91" * 100_000},
        {"body": pack(Envelope([tensor(np.zeros(1, "<f4"))]))[:-1]},
        {"body": msgspec.msgpack.encode([[["\udc80".encode("utf-8", "surrogateescape"), 1]]])},
        {"body": b"\x94\x91\x94\xa1\xff\xa4FP32\x91\x01\xc4\x00\x90\xa0\xa0"},
    ],
    ids=str,
)  # fmt: skip
def test_what_no_gateway_writes_is_refused(changes: dict[str, bytes]) -> None:
    """As invalid, so that it is answered and goes; whoever wrote it."""
    with pytest.raises(InvalidInput, match="work entry"):
        read(**changes)


@pytest.mark.parametrize("priority", [0, 10, -1, 2**63, "5", None, 5.5])
def test_a_priority_out_of_range_is_refused(priority: object) -> None:
    """So is one that is no whole number."""
    with pytest.raises(InvalidInput, match=r"work entry: (priority|envelope)"):
        read(body=msgspec.msgpack.encode([[], [], "", "", priority]))


@pytest.mark.parametrize("priority", range(1, 10))
def test_priorities_are_1_to_9(priority: int) -> None:
    """As in the envelope."""
    body = pack(Envelope([tensor(np.zeros((1, 2), "<f4"))], priority=priority))
    assert read(body=body).envelope.priority == priority


def test_from_one_start_that_ended_in_a_death_a_request_is_isolated() -> None:
    """It, or one of its batch-mates, has killed a worker: the next death is certainly its own."""
    assert [read(attempts=b"%d" % n).isolated for n in range(4)] == [False, True, True, True]


@pytest.mark.parametrize(
    "flat",
    [
        [], [b"id"], [b"id", b"x"], [p for pair in GOOD.items() for p in pair][:-1],
    ],
    ids=["none", "half", "one", "cut"],
)  # fmt: skip
def test_an_entry_without_a_field_is_refused(flat: list[bytes]) -> None:
    """The error names the field."""
    with pytest.raises(InvalidInput, match="work entry"):
        decode(b"1-1", flat)


@pytest.mark.parametrize("newer", [False, True])
def test_an_entry_of_another_release_is_read(newer: bool) -> None:
    """A newer one has more fields, in any order; an older one lacks those that came later."""
    given = {**GOOD, b"tenant": b"a"} if newer else dict(GOOD)
    if not newer:
        del given[b"attempts"], given[b"flags"]
    flat = [part for pair in reversed(given.items()) for part in pair]
    found = decode(b"1-1", flat)
    assert (found.id, found.attempts, found.reply) == (GOOD[b"id"], 0, GOOD[b"reply"])


@given(st.binary(max_size=200))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    """Nothing else happens."""
    with suppress(InvalidInput, Unavailable):
        read(body=body)


def test_a_reference_to_memory_that_is_not_shared_is_unavailable() -> None:
    """The gateway is elsewhere: the request may succeed another time."""
    with pytest.raises(Unavailable):
        read(body=b"\xc1gw-0123456789ab/" + b"f" * 32 + b".in")


def test_the_fields_are_those_that_placement_writes() -> None:
    """In this order."""
    assert list(GOOD) == list(FIELDS)
