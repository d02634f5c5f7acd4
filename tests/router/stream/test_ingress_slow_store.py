"""A repository that takes long for one model: the stream door goes on with the others."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from router.stream.ingress import READ_COUNT
from shared import manifest as manifests
from tests.helpers.factories import manifest
from tests.helpers.slow_repository import SlowRepository
from tests.helpers.stream_door import REPLY_TO, parked, send, taken_in


@pytest.fixture
def repository() -> Iterator[SlowRepository]:
    """One that answers for all models but `slow`."""
    made = SlowRepository()
    made.slow = {"slow"}
    yield made
    made.let_go()


async def test_one_entry_of_a_slow_model_holds_up_no_other_of_its_page(
    parts, door, repository
) -> None:
    """They are placed at once; it waits in the stream, and is placed when its model is known."""
    repository.add(manifest(name="slow"))
    await send(parts, model="slow")
    for _ in range(READ_COUNT - 1):
        await send(parts)
    began = time.monotonic()
    await door.run_once()
    await door.run_once()
    assert time.monotonic() - began < 15
    assert len(await parked(parts, repository)) == READ_COUNT - 1
    assert await parts.cell.client.xlen(parts.cell.keys.ingress) == 1
    repository.let_go()
    await taken_in(parts, door)


async def test_many_pages_of_a_slow_model_hold_up_no_entry_behind_them(
    parts, door, repository
) -> None:
    """The read that they wait for is one, and they wait for it together."""
    slow = repository.add(manifest(name="slow"))
    for _ in range(10 * READ_COUNT):
        await send(parts, model="slow")
    await send(parts)
    began = time.monotonic()
    while not await parked(parts, repository):
        await door.run_once()
    assert time.monotonic() - began < 15
    assert repository.waiting == ["slow"]
    repository.let_go()
    await taken_in(parts, door)
    ref = str(manifests.ref_of(manifest(name="slow"), slow))
    assert await parts.cell.client.xlen(parts.cell.keys.parked(ref)) == 10 * READ_COUNT


async def test_an_entry_of_a_slow_model_expires_with_the_reason(parts, door, repository) -> None:
    """Its producer is told by its deadline, not when the repository answers."""
    await send(parts, model="slow", timeout="100000")
    await taken_in(parts, door)
    (answer,) = await parts.cell.stream(REPLY_TO)
    assert answer.fields["status"] == b"expired"
    assert b"being read from the repository" in answer.fields["error"]
    assert len(repository.waiting) == 1
