"""The stream door and new versions: the first entry after a pause gets them, others go on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from router.catalog import catalog, look, newest
from router.stream.ingress import Ingress
from shared.channel import Channel
from tests.helpers.cell import Cell
from tests.helpers.factories import manifest
from tests.helpers.gateway import BODY
from tests.helpers.repository import FakeRepository
from tests.helpers.versions import NAME, World, world_of
from tests.helpers.wait import wait_until


@pytest.fixture
async def world(cell: Cell, repository: FakeRepository) -> World:
    return await world_of(cell, repository)


@pytest.fixture
async def stream(parts, world: World) -> AsyncIterator[Ingress]:
    """The door of a gateway whose models are all idle."""
    channel, cell = Channel(world.cell.url), world.cell
    intake = parts.intake(world.catalog)
    yield Ingress(channel, cell.keys, cell.scripts, intake, "gw1", 1 << 20)
    await channel.aclose()


async def test_an_entry_waits_for_the_verdict_and_holds_up_no_other(
    stream: Ingress, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays pending while a newer version of its model is tried; another model's goes on."""
    monkeypatch.setattr(catalog, "GRACE_S", -1.0)
    for module in (catalog, look, newest):  # no read of the repository is slow
        monkeypatch.setattr(module, "READ_S", 60.0)
    await world.load(world.push(1))
    assert await world.served() == 1
    new = world.push(2)
    other = manifest(name="bert")
    world.repository.add(other)
    for name in (NAME, "bert"):
        await world.cell.client.xadd(world.cell.keys.ingress, {"model": name, "body": BODY})
    await stream.run_once()
    await wait_until(lambda: world.cell.token(new))
    assert await _models(world) == {"bert"}
    await world.carry_out(new)
    monkeypatch.setattr(catalog, "GRACE_S", 60.0)

    async def taken_in() -> bool:
        await stream.run_once()
        return NAME in await _models(world)

    await wait_until(taken_in)
    entries = await world.cell.stream(world.cell.keys.work("w1"))
    assert [e.fields["model"].decode() for e in entries] == [new]


async def _models(world: World) -> set[str]:
    """Models of what was placed or parked."""
    keys, found = world.cell.keys, set()
    async for key in world.cell.client.scan_iter(keys.prefix + ":*"):
        name = key.decode()
        if name.startswith((keys.parked(""), keys.work(""))):
            found |= {e.fields["model"].decode().partition(":")[0] for e in
                      await world.cell.stream(name)}  # fmt: skip
    return found
