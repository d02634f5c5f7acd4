"""Messages of an older and of a newer release are read: what is not known is ignored, what is
missing has a default. What scripts move and keep is in `tests/lua/test_releases.py`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from router.requests.records import read_record
from router.requests.waiters import Reply, Waiters
from shared import policy
from shared.channel import Channel
from shared.envelope import Envelope, Outcome, Timing, unpack_envelope, unpack_outcome
from shared.errors import Corrupt
from shared.keys import Keys
from shared.manifest import Manifest, parse
from shared.protocol import conflict
from tests.helpers.factories import REF, manifest, tensor

X = tensor(np.zeros(1, "<f4"), "x")


def rows(message: Any) -> list[Any]:
    """A packed message as plain lists."""
    return list(msgspec.msgpack.decode(msgspec.msgpack.encode(message)))


def repacked(parts: list[Any]) -> bytes:
    return msgspec.msgpack.encode(parts)


def test_an_envelope_of_another_release_is_read() -> None:
    """Newer: more at its end, in its tensors too. Older: only the inputs."""
    full = rows(Envelope([X], ["y"], "mine", "", 3))
    full[0][0] += [{"layout": "NHWC"}]
    assert unpack_envelope(repacked([*full, "more", {"a": 1}])).priority == 3
    assert unpack_envelope(repacked(full[:1])) == Envelope([X])


def test_an_outcome_of_another_release_is_read() -> None:
    """Newer: more at its end, in its timing too. Older: only the outputs."""
    full = rows(Outcome([X], "mine", Timing(1, 2, 3)))
    full[2] += [99]
    assert unpack_outcome(repacked([*full, None])).timing == Timing(1, 2, 3)
    assert unpack_outcome(repacked(full[:1])) == Outcome([X])


def test_a_manifest_of_another_release_is_read() -> None:
    """Newer: more fields, at every level. Older: without those that have a default."""
    made = manifest(name="mnist")
    document = msgspec.json.decode(made.encode())
    more = {**document, "signature": "x", "residency": {**document["residency"], "tenant": "a"}}
    more["inputs"] = [{**spec, "layout": "NCHW"} for spec in document["inputs"]]
    more["files"] = [{**entry, "mode": 0o644} for entry in document["files"]]
    assert parse(msgspec.json.encode(more), name="mnist", version=made.version) == made
    required = {field.name for field in msgspec.structs.fields(Manifest) if field.required}
    least = {name: value for name, value in document.items() if name in required}
    parse(msgspec.json.encode(least), name="mnist", version=made.version)


def test_a_manifest_of_another_format_says_so() -> None:
    """The number is for what an older reader would get wrong."""
    document = {**msgspec.json.decode(manifest(name="mnist").encode()), "format": 2}
    with pytest.raises(Corrupt, match="format: 2, this release reads format 1"):
        parse(msgspec.json.encode(document), name="mnist", version=1)


def test_a_policy_may_have_fields_that_are_not_known() -> None:
    """Overrides lie in Redis, where a newer gateway has written them."""
    made = policy.effective(policy.Policy(), {"priority": "2", "tenant": "a"})
    assert made.priority == 2


@pytest.fixture
async def waiters() -> Waiters:
    return Waiters(Channel("redis://127.0.0.1:1"), Keys(), "gw1")


@pytest.mark.parametrize(
    "fields",
    [
        {"id": "a" * 32, "status": "succeeded", "worker": "w1", "cold": "0", "outcome": "42",
         "cost": "7"},
        {"cost": "7", "outcome": "42", "id": "a" * 32, "worker": "w1", "status": "succeeded"},
    ],
    ids=["more", "other order, without cold"],
)  # fmt: skip
async def test_a_reply_of_another_release_is_read(waiters: Waiters, fields: dict[str, str]) -> None:
    """Fields by name; those that may be missing have a default."""
    future = waiters.register("a" * 32)
    waiters.resolve([part.encode() for pair in fields.items() for part in pair])
    assert future.result() == Reply("succeeded", "w1", False, b"42")


@pytest.mark.parametrize("fields", [[], [b"id", b""], [b"id", b"a" * 32], [b"id"]])
async def test_what_is_not_a_reply_goes_to_no_caller(waiters: Waiters, fields: list[bytes]) -> None:
    """It waits on."""
    future = waiters.register("a" * 32)
    waiters.resolve(fields)
    await asyncio.sleep(0)
    assert not future.done()


def test_a_record_of_another_release_is_read() -> None:
    """Newer: more fields. Older: only those that place has always written."""
    least = {"status": b"placed", "model": REF.encode()}
    newer = {**least, "tenant": b"a", "trace": b"\xff"}
    assert read_record("a" * 32, least) == read_record("a" * 32, newer)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([b"gateway gw-1", b"3", b"2"], "this worker is too old: start a release with protocol 2"),
        ([b"gateway gw-1", b"0", b"0"], "gateway gw-1 is too old: upgrade it to protocol 1"),
    ],
)
def test_the_error_names_both_numbers_and_what_to_do(found: list[bytes], words: str) -> None:
    """At the start of a process; it ends with status 2 (`settings or surroundings`)."""
    assert words in conflict("worker", (1, 1), found).message


def test_the_protocol_page_has_the_numbers() -> None:
    """Section 10."""
    from shared.constants import OLDEST_PROTOCOL, PROTOCOL

    text = (Path(__file__).parents[2] / "shared" / "PROTOCOL.md").read_text()
    assert f"This release writes protocol {PROTOCOL} and reads from {OLDEST_PROTOCOL} on." in text
