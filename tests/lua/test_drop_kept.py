"""drop_kept.lua: outcomes that wait to be polled, and dead letters, within budgets of bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.constants import DEAD_LETTERS_MAX, LETTER_BODY_MAX, RECORD_BYTES, RESULT_TTL_MS
from shared.scripts import CHUNK
from tests.helpers.cell import Cell
from tests.helpers.factories import REF, kept, placing

UNLIMITED = 1 << 40
NOW = 1_700_000_000_000
OUTCOME = 1000 - RECORD_BYTES  # so that each counts 1000 bytes


@pytest.fixture
async def cell(cell: Cell) -> AsyncIterator[Cell]:
    cell.scripts.now_ms = NOW
    await cell.gateway()
    yield cell


async def finished(cell: Cell, count: int, size: int = OUTCOME, **changes: object) -> list[str]:
    """Submitted requests that have succeeded, in this order; their ids."""
    epoch = await cell.worker("w1", holds=[REF])
    items = [kept(**changes) for _ in range(count)]
    await cell.place(*items)
    entries = await cell.read("w1")
    await cell.begin("w1", epoch, entries)
    assert await cell.complete("w1", epoch, entries, outcome=b"o" * size) == [1] * count
    return [item.id for item in items]


async def bytes_of(cell: Cell, kind: str) -> int:
    return int(await cell.client.get(cell.keys.kept_bytes(kind)) or 0)


async def status(cell: Cell, request: str) -> str:
    """What a poll finds."""
    record = await cell.scripts.subscribe(request, "")
    return "gone" if "gone" in record else record["status"].decode()


async def test_the_oldest_outcomes_go_first(cell: Cell) -> None:
    """As far as needed; a poll of one that went is told so, of the others it has its outcome."""
    ids = await finished(cell, 5)
    assert await bytes_of(cell, "outcomes") == 5000
    assert (await cell.scripts.drop_kept(3000))[0] == 2
    assert [await status(cell, i) for i in ids] == ["gone"] * 2 + ["succeeded"] * 3
    assert await bytes_of(cell, "outcomes") == 3000
    assert (await cell.scripts.drop_kept(3000))[0] == 0


async def test_what_runs_or_waits_is_never_dropped(cell: Cell) -> None:
    """Only ends count: an accepted request is served however small the budget is."""
    epoch = await cell.worker("w1", holds=[REF])
    item = kept()
    await cell.place(item)
    assert (await cell.scripts.drop_kept(1))[0] == 0
    entries = await cell.read("w1")
    await cell.begin("w1", epoch, entries)
    assert await cell.complete("w1", epoch, entries) == [1]
    assert await status(cell, item.id) == "succeeded"


async def test_a_waiting_callers_outcome_is_not_counted(cell: Cell) -> None:
    """It is not stored: the warm path pays nothing."""
    epoch = await cell.worker("w1", holds=[REF])
    await cell.place(placing(reply="gw1"))
    entries = await cell.read("w1")
    await cell.begin("w1", epoch, entries)
    await cell.complete("w1", epoch, entries)
    assert await cell.client.exists(cell.keys.kept("outcomes")) == 0


async def test_what_has_expired_is_counted_no_longer(cell: Cell) -> None:
    """After an hour Redis itself drops the outcome; nothing of the account stays."""
    await finished(cell, 2)
    assert cell.scripts.now_ms is not None
    cell.scripts.now_ms += RESULT_TTL_MS
    assert (await cell.scripts.drop_kept(UNLIMITED))[0] == 0
    assert await cell.client.exists(cell.keys.kept("outcomes")) == 0
    assert await bytes_of(cell, "outcomes") == 0


async def test_one_that_a_stream_waits_for_stays_a_moment(cell: Cell) -> None:
    """Until a gateway has surely written it there; those behind it go instead."""
    waited = await finished(cell, 1, reply_to="answers", caller_id="c")
    other = await finished(cell, 1)
    assert (await cell.scripts.drop_kept(1000))[0] == 1
    assert [await status(cell, i) for i in waited + other] == ["succeeded", "gone"]
    assert cell.scripts.now_ms is not None
    cell.scripts.now_ms += 60_000
    assert (await cell.scripts.drop_kept(1))[0] == 1
    assert await status(cell, waited[0]) == "gone"
    await cell.client.delete(cell.keys.outbox)


async def test_a_place_call_that_is_repeated_finds_that_its_outcome_was_dropped(
    cell: Cell,
) -> None:
    """Its answer was lost, and its key is free again: it must not run once more."""
    item = kept(key="k", fingerprint="f", timeout_ms=100)
    await cell.place(item)
    assert cell.scripts.now_ms is not None
    cell.scripts.now_ms += 200
    await cell.scripts.sweep()
    assert (await cell.scripts.drop_kept(1))[0] == 1
    assert [row.status for row in await cell.place(item)] == ["gone"]


async def test_a_call_is_bounded(cell: Cell) -> None:
    """The rest goes with the next."""
    await finished(cell, CHUNK + 5)
    assert (await cell.scripts.drop_kept(1))[0] == CHUNK
    assert (await cell.scripts.drop_kept(1))[0] == 5


async def letters(cell: Cell, count: int, size: int) -> list[str]:
    """Requests that became dead letters with payloads of `size` bytes; their entries."""
    before = await cell.client.xlen(cell.keys.dead_letters)
    for _ in range(count):
        epoch = await cell.worker("w9", holds=[REF])
        await cell.place(kept(body=b"b" * size))
        await cell.begin("w9", epoch, await cell.read("w9"))
        await cell.scripts.fence_worker("w9", epoch, 1, "it died", 1)
    rows = await cell.client.xrange(cell.keys.dead_letters)
    return [entry.decode() for entry, _ in rows[before:]]


async def test_dead_letters_have_a_quarter(cell: Cell) -> None:
    """The oldest go first; the others can still be replayed."""
    made = await letters(cell, 4, 1000)
    one = 1000 + RECORD_BYTES
    assert await bytes_of(cell, "letters") == 4 * one
    assert (await cell.scripts.drop_kept(4 * 3 * one))[1] == 1
    left = [entry.decode() for entry, _ in await cell.client.xrange(cell.keys.dead_letters)]
    assert left == made[1:]


async def test_a_large_payload_is_not_kept_with_its_letter(cell: Cell) -> None:
    """A thousand of 16 MiB would fill Redis; the letter itself says what died, and why."""
    (entry,) = await letters(cell, 1, LETTER_BODY_MAX + 1)
    ((_, fields),) = await cell.client.xrange(cell.keys.dead_letters, entry, entry)
    assert b"body" not in fields and fields[b"cause"]
    assert await bytes_of(cell, "letters") == RECORD_BYTES


async def test_letters_that_were_removed_are_counted_no_longer(cell: Cell) -> None:
    """Those that are there still are, wherever they stand in the list."""
    name, total = cell.keys.kept("letters"), cell.keys.kept_bytes("letters")
    (entry,) = await letters(cell, 1, 100)
    await cell.client.rpush(name, *(f"{NOW} 10 {n}-1" for n in range(1, DEAD_LETTERS_MAX + 3)))
    await cell.client.incrby(total, 10 * (DEAD_LETTERS_MAX + 2))
    for _ in range(2):
        await cell.scripts.drop_kept(UNLIMITED)
    assert await cell.client.llen(name) == DEAD_LETTERS_MAX
    assert await bytes_of(cell, "letters") == 10 * (DEAD_LETTERS_MAX - 1) + 100 + RECORD_BYTES
    assert await cell.client.xlen(cell.keys.dead_letters) == 1 and entry
