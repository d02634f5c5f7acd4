"""What can be no request is answered, kept as a dead letter, and never stops the stream door."""

from __future__ import annotations

import pytest

from router.stream.ingress import check_reply_to
from shared.errors import InvalidInput, StoreUnavailable, Unavailable
from shared.keys import Keys
from tests.helpers.stream_door import BODY, REPLY_TO, parked, send
from tests.helpers.wait import wait_until

BAD = {
    "no model": ({"model": None}, "invalid", "model"),
    "no body": ({"body": None}, "invalid", "body"),
    "unknown field": ({"colour": "red"}, "invalid", "colour"),
    "unknown model": ({"model": "nobody"}, "not_found", "nobody"),
    "bad model": ({"model": "../etc"}, "invalid", "model name"),
    "binary model": ({"model": b"\xff\xfe"}, "invalid", "model name"),
    "bad version": ({"version": "x"}, "not_found", "version"),
    "unknown version": ({"version": "9"}, "not_found", "version 9"),
    "bad body": ({"body": "{"}, "invalid", "body"),
    "binary body": ({"body": b'{"inputs": [{"name": "\xff"}]}'}, "invalid", "body"),
    "wrong input": ({"body": BODY.replace('"x"', '"q"')}, "invalid", "inputs['q']"),
    "large body": ({"body": b" " * ((1 << 20) + 1)}, "too_large", "body"),
    "long id": ({"id": "i" * 10_000}, "invalid", "id"),
    "empty id": ({"id": ""}, "invalid", "id"),
    "binary id": ({"id": b"\x00\xff\n"}, "invalid", "id"),
    "empty model": ({"model": ""}, "invalid", "model name"),
    "long model": ({"model": "m" * 10_000}, "invalid", "model name"),
    "empty body": ({"body": ""}, "invalid", "body"),
    "text timeout": ({"timeout": "1e6"}, "invalid", "timeout"),
    "bad priority": (
        {"body": BODY[:-1] + ', "parameters": {"priority": 10}}'},
        "invalid",
        "priority",
    ),
    "a key twice": ({"body": BODY[:-1] + ', "id": "a", "id": "b"}'}, "invalid", "'id'"),
    "bad timeout": ({"timeout": "-1"}, "invalid", "timeout"),
    "no timeout": ({"timeout": "0"}, "invalid", "timeout"),
    "huge timeout": ({"timeout": "9" * 15}, "invalid", "timeout"),
}


@pytest.mark.parametrize("case", BAD)
async def test_what_can_be_no_request_is_answered_and_buried(parts, door, case: str) -> None:
    """With the field named; nothing stays pending, and what comes next is taken."""
    changes, code, named = BAD[case]
    entry = await send(parts, **changes)
    assert await door.run_once() == 1
    (answer,) = await parts.cell.stream(REPLY_TO)
    assert (answer.fields["status"], answer.fields["code"]) == (b"failed", code.encode())
    assert named in answer.fields["error"].decode()
    (letter,) = await parts.cell.stream(parts.cell.keys.dead_letters)
    assert letter.fields["entry"] == entry
    assert await parts.cell.client.xlen(parts.cell.keys.ingress) == 0
    await send(parts)
    assert await door.run_once() == 1


@pytest.mark.parametrize("name", ["{C}:ingress", "{C}:work:w1", "{C}", "a b", "a" * 257, "\n", "ä"])
async def test_an_answer_cannot_be_sent_into_our_own_keys(parts, door, name: str) -> None:
    """Such an entry is buried without an answer."""
    reply_to = name.replace("{C}", parts.cell.keys.prefix)
    await send(parts, reply_to=reply_to)
    await door.run_once()
    (letter,) = await parts.cell.stream(parts.cell.keys.dead_letters)
    assert b"reply_to" in letter.fields["cause"]
    ours = reply_to.startswith(parts.cell.keys.prefix + ":")
    assert not ours or await parts.cell.client.xlen(reply_to) == 0


def test_answers_may_go_to_a_stream_of_the_callers_or_under_answers() -> None:
    """Or nowhere."""
    keys = Keys("c")
    for name in ("", "mine", "mine:{tag}", "{c}:answers:mine"):
        assert check_reply_to(name.encode(), keys) == name
    for name in ("{c}:answersx", "{other}:ingress", "{other}:answers:mine", "{user:1}:cart", "{"):
        with pytest.raises(InvalidInput, match="reply_to: keys that begin"):
            check_reply_to(name.encode(), keys)


def test_in_a_cluster_answers_go_to_the_slot_of_the_cell() -> None:
    """No script reaches another one. The tag that is wanted is told."""
    keys = Keys("c")
    for name in ("", "{c}:answers:mine", "mine:{c}:1", "c"):
        assert check_reply_to(name.encode(), keys, in_cluster=True) == name
    for name in ("mine", "mine:{tag}", "mine:{c"):
        with pytest.raises(InvalidInput, match=r"in the slot of {c} take answers"):
            check_reply_to(name.encode(), keys, in_cluster=True)


async def test_an_entry_that_its_producer_trimmed_does_not_stay_pending(
    parts, door, repository
) -> None:
    """It is let go, and the next one is taken."""
    repository.error = StoreUnavailable("away")
    entry = await send(parts)
    await door.run_once()
    await parts.cell.client.xdel(parts.cell.keys.ingress, entry)
    repository.error = None

    async def let_go() -> bool:
        await door.run_once()
        (group,) = await parts.cell.client.xinfo_groups(parts.cell.keys.ingress)
        return group["pending"] == 0

    await wait_until(let_go)
    await send(parts)
    assert await door.run_once() == 1


GARBAGE = {
    "50,000 fields": [part for n in range(50_000) for part in (f"f{n}", "x")],
    "a field twice": ["model", "mnist", "body", BODY, "model", "mnist"],
    "a binary field": [b"\xff\x00\n", "x"],
    "an empty field": ["", ""],
    "a field of 1 MiB": ["x" * (1 << 20), "x"],
}


@pytest.mark.parametrize("case", GARBAGE)
async def test_garbage_is_buried_and_the_next_entry_taken(
    parts, door, repository, case: str
) -> None:
    """With a reason of a bounded length; the door does not stop."""
    await parts.cell.client.execute_command("XADD", parts.cell.keys.ingress, "*", *GARBAGE[case])
    await send(parts)
    assert await door.run_once() == 2
    (letter,) = await parts.cell.stream(parts.cell.keys.dead_letters)
    assert letter.fields["cause"].startswith(b"invalid field")
    assert len(letter.fields["cause"]) < 1000
    assert len(await parked(parts, repository)) == 1


async def test_a_bug_met_by_one_entry_does_not_stop_the_door(parts, door, monkeypatch) -> None:
    """It is buried as an internal error, with a stack in the log, and not tried for ever."""

    def bug(*args):
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr("router.v2.request.parse", bug)
        await send(parts)
        assert await door.run_once() == 1
    (letter,) = await parts.cell.stream(parts.cell.keys.dead_letters)
    assert letter.fields["cause"].startswith(b"internal")
    await send(parts)
    assert await door.run_once() == 1


async def test_after_an_error_of_redis_the_door_begins_with_what_it_had_read(
    parts, door, monkeypatch
) -> None:
    """An answer that was not written is written then."""

    async def silent(*args):
        raise Unavailable("Redis does not answer")

    await send(parts, model="nobody")
    with monkeypatch.context() as patch:
        patch.setattr(parts.cell.scripts, "publish_reply", silent)
        with pytest.raises(Unavailable):
            await door.run_once()
    assert await door.run_once() == 1
    assert len(await parts.cell.stream(REPLY_TO)) == 1
