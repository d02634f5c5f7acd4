"""What cannot be placed now waits at the stream door: in its turn, bounded, until its deadline."""

from __future__ import annotations

import pytest

from router.stream import pending_entries
from router.stream.ingress import READ_COUNT
from shared import manifest as manifests
from shared.errors import Overloaded, Quarantined, StoreUnavailable
from tests.helpers.factories import manifest
from tests.helpers.stream_door import BODY, REPLY_TO, parked, send, taken_in


@pytest.mark.parametrize("error", [StoreUnavailable("away"), Overloaded("full")])
async def test_an_entry_that_cannot_be_taken_now_waits(parts, door, repository, error) -> None:
    """It stays pending, and comes first when things are better. The door itself has not failed:
    its loop would wait longer each time, and make the gateway unready."""
    await send(parts)
    if isinstance(error, Overloaded):
        parts.placement.limits = parts.placement.limits._replace(parked=0)
    else:
        repository.error = error
    assert await door.run_once() == 1
    assert await parts.cell.client.xlen(parts.cell.keys.ingress) == 1
    parts.placement.limits = parts.placement.limits._replace(parked=10)
    repository.error = None
    await taken_in(parts, door)
    assert len(await parked(parts, repository)) == 1


async def test_a_full_model_does_not_hold_up_the_others(parts, door, repository) -> None:
    """Entries behind one that must wait are taken."""
    raw = repository.add(manifest(name="other"))
    parts.placement.limits = parts.placement.limits._replace(parked=1)
    for _ in range(2):
        await send(parts)
    await door.run_once()
    await send(parts, model="other")
    await door.run_once()
    other = str(manifests.ref_of(manifest(name="other"), raw))
    assert await parts.cell.client.xlen(parts.cell.keys.parked(other)) == 1


async def test_every_entry_that_waits_gets_its_turn(parts, door, repository, monkeypatch) -> None:
    """Not only the oldest: more than a page of a full model does not hold up those behind it."""
    repository.add(manifest(name="other"))
    full, submit = {"mnist", "other"}, parts.dispatch.submit

    async def refuse_the_full(call):
        if call.ref.name in full:
            raise Overloaded("full")
        return await submit(call)

    monkeypatch.setattr(parts.dispatch, "submit", refuse_the_full)
    for _ in range(READ_COUNT + 8):
        await send(parts)
    last = await send(parts, model="other")
    for _ in range(2):
        await door.run_once()
    full.remove("other")
    while await parts.cell.client.xrange(parts.cell.keys.ingress, last, last):
        await door.run_once()
    assert await parts.cell.client.xlen(parts.cell.keys.ingress) == READ_COUNT + 8
    full.clear()
    await taken_in(parts, door)
    assert len(await parked(parts, repository)) == READ_COUNT + 8


async def test_when_many_wait_nothing_new_is_read(parts, door, repository, monkeypatch) -> None:
    """It is left to other gateways, and this one's list stays short."""
    monkeypatch.setattr(pending_entries, "MAX_WAITING", 2)
    parts.placement.limits = parts.placement.limits._replace(parked=0)
    for _ in range(3):
        await send(parts)
        await door.run_once()
    (group,) = await parts.cell.client.xinfo_groups(parts.cell.keys.ingress)
    assert group["pending"] == 2
    parts.placement.limits = parts.placement.limits._replace(parked=10)
    await taken_in(parts, door)
    assert len(await parked(parts, repository)) == 3


async def test_an_entry_whose_deadline_has_passed_is_expired(parts, door, repository) -> None:
    """It counts from when the entry was written; here that was in 1970. Its producer is told, or if
    it cannot be, it is a dead letter."""
    row = {"model": "mnist", "body": BODY}
    told = {**row, "reply_to": REPLY_TO, "id": "mine"}
    await parts.cell.client.xadd(parts.cell.keys.ingress, told, id="5-1")
    await door.run_once()
    (answer,) = await parts.cell.stream(REPLY_TO)
    expected = {"status": b"expired", "code": b"expired", "entry": b"5-1"}
    assert answer.fields.items() >= expected.items()
    assert await parts.cell.stream(parts.cell.keys.dead_letters) == []
    await parts.cell.client.xadd(parts.cell.keys.ingress, row, id="6-1")
    await door.run_once()
    (letter,) = await parts.cell.stream(parts.cell.keys.dead_letters)
    assert letter.fields["cause"].startswith(b"expired its deadline passed")
    assert await parked(parts, repository) == []


async def test_an_entry_expires_also_while_the_repository_is_away(parts, door, repository) -> None:
    """Nobody else could tell its producer."""
    repository.error = StoreUnavailable("away")
    await send(parts, timeout="1")
    await taken_in(parts, door)
    (answer,) = await parts.cell.stream(REPLY_TO)
    assert answer.fields["status"] == b"expired"
    assert b"away" in answer.fields["error"]


async def test_the_time_it_may_wait_can_be_in_the_body(parts, door, repository) -> None:
    """As in every V2 request."""
    repository.error = StoreUnavailable("away")
    await send(parts, body=BODY[:-1] + ', "parameters": {"timeout": 1}}')
    await taken_in(parts, door)
    assert len(await parts.cell.stream(REPLY_TO)) == 1


async def test_a_quarantined_model_is_told_at_once(parts, door, monkeypatch) -> None:
    """The letter can be replayed when it is well again; waiting would hold up others."""

    async def quarantined(call):
        raise Quarantined("it crashed 5 workers", retry_after_s=10)

    monkeypatch.setattr(parts.dispatch, "submit", quarantined)
    await send(parts)
    await door.run_once()
    (answer,) = await parts.cell.stream(REPLY_TO)
    assert (answer.fields["status"], answer.fields["code"]) == (b"failed", b"quarantined")
