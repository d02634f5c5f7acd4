"""Who loads what and where: head starts, affinity, further copies, what loads teach."""

from __future__ import annotations

import asyncio
import weakref

import pytest

from shared.policy import Affinity, Policy
from tests.helpers.factories import placing
from tests.helpers.loading import LoadingWorker
from tests.helpers.wait import wait_until
from worker.device.base import DeviceOutOfMemory
from worker.loading import loader as module


async def record(worker: LoadingWorker, name: str) -> dict[str, str]:
    """A hash of the cell, as text."""
    found = await worker.cell.client.hgetall(name)
    return {key.decode(): value.decode() for key, value in found.items()}


async def test_a_load_teaches_what_it_took(loading: LoadingWorker) -> None:
    """Its bytes by device class, its time by tier, and the manifest's numbers of copies."""
    given = Policy(max_copies=3, pin=True)
    ref = loading.publish("a", 60, residency=given)
    await loading.load(ref)
    known = await record(loading, loading.cell.keys.stats(ref))
    assert known["own:cpu"] == "60" and int(known["disk"]) >= 0
    assert (known["min_copies"], known["max_copies"], known["pin"]) == ("0", "3", "1")


async def test_the_next_plan_uses_what_was_learned(loading: LoadingWorker) -> None:
    """A model that proved larger than its manifest says has its room reserved at once."""
    ref = loading.publish("a", 10)
    await loading.cell.client.hset(loading.cell.keys.stats(ref), "own:cpu", 70)
    await loading.cell.client.expire(loading.cell.keys.stats(ref), 60)
    loading.go.clear()
    await loading.order(ref)
    await wait_until(lambda: loading.loaded == ["a"])
    assert loading.parts.ledger.used == 70
    loading.go.set()
    await wait_until(lambda: not loading.loader.tasks)
    assert loading.parts.ledger.used == 10, "it was not corrected by what was measured"


async def test_a_share_of_the_device_is_the_least_a_copy_counts_as(loading: LoadingWorker) -> None:
    """So of models with a half each two fit, however small they are."""
    refs = [loading.publish(name, 5, residency=Policy(fraction=0.5)) for name in "abc"]
    for ref in refs:
        await loading.load(ref)
    assert loading.parts.ledger.used == 100
    assert sorted(loading.parts.copies.held()) == sorted(refs[1:])


def held_back(loading: LoadingWorker, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Until the event is set, a worker that has waited for a head start does not go on."""
    go = asyncio.Event()
    monkeypatch.setattr(loading.loader, "_until_free_slot", go.wait)
    return go


async def test_who_has_no_head_start_loads_after_it(
    loading: LoadingWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the worker that could have it sooner does not take it."""
    monkeypatch.setattr(module, "HEAD_START_S", 0.26)
    cell, ref, go = loading.cell, loading.publish("a", 60), held_back(loading, monkeypatch)
    other = await cell.worker("w2")
    await cell.scripts.announce("w2", other, ref, "", "device 1")
    await cell.scripts.retire("w2", other, ref, "disk")
    await cell.client.hset(cell.keys.worker("w2"), "state", "ready")
    assert await loading.order(ref) == "later"
    assert await cell.client.hget(cell.keys.load(ref), "worker") == b""
    go.set()
    await wait_until(lambda: loading.loader.loads == 1)
    assert await loading.holders(ref) == [b"w1"]


async def test_the_head_start_of_a_worker_that_takes_it_is_respected(
    loading: LoadingWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is loaded once, there."""
    monkeypatch.setattr(module, "HEAD_START_S", 0.26)
    cell, ref, go = loading.cell, loading.publish("a", 60), held_back(loading, monkeypatch)
    other = await cell.worker("w2")
    await cell.scripts.announce("w2", other, ref, "", "device 1")
    await cell.scripts.retire("w2", other, ref, "disk")
    await cell.client.hset(cell.keys.worker("w2"), "state", "ready")
    assert await loading.order(ref) == "later"
    await cell.claim("w2", other, ref)
    go.set()
    await wait_until(lambda: not loading.loader._later)
    assert loading.loader.loads == 0


async def test_what_is_refused_holds_up_no_other_order(
    loading: LoadingWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer comes at once; then the order is offered to the others, before the worker goes."""
    cell, ref, go = loading.cell, loading.publish("a", 60), asyncio.Event()
    refuse, offered = cell.scripts.refuse_load, list[str]()

    async def slow(*args: str, **named: bool) -> str:
        await go.wait()
        offered.append(await refuse(*args, **named))
        return offered[-1]

    monkeypatch.setattr(module, "PAUSE_S", 3600.0)
    monkeypatch.setattr(cell.scripts, "refuse_load", slow)
    await cell.worker("w2")
    await cell.place(placing(ref=ref))
    await cell.client.hset(cell.keys.load(ref), "refused", "w1")
    async with asyncio.timeout(30):
        assert await loading.order(ref) == "refused"
    stopping = asyncio.create_task(loading.loader.stop())
    go.set()
    await stopping
    assert offered == ["ordered"]


async def test_kin_go_where_their_kin_is(loading: LoadingWorker) -> None:
    """The order is handed on, and nothing is left of it here."""
    given = Policy(affinity=Affinity(key="tenant-1", mode="require"))
    first, second = (loading.publish(name, 10, residency=given) for name in ("a", "b"))
    cell = loading.cell
    other = await cell.worker("w2")
    await cell.place(placing(ref=first))
    await cell.claim("w2", other, first)
    await cell.scripts.route_by_affinity(
        "w2", first, await cell.token(first), "tenant-1", "require"
    )
    await cell.scripts.announce("w2", other, first, await cell.token(first), "device 1")
    assert await loading.order(second) == "claimed"
    await wait_until(lambda: not loading.loader.tasks)
    assert loading.loader.loads == 0 and loading.parts.ledger.used == 0
    lease = await record(loading, cell.keys.load(second))
    assert (lease["for"], lease["worker"]) == ("w2", "")


async def test_kin_without_a_home_are_loaded_here(loading: LoadingWorker) -> None:
    """And so are the next ones of them."""
    given = Policy(affinity=Affinity(key="tenant-1", mode="require"))
    for name in ("a", "b"):
        await loading.load(loading.publish(name, 10, residency=given))
    assert loading.loader.loads == 2


async def test_a_device_fuller_than_the_ledger_says_loses_a_copy_and_the_load_succeeds(
    loading: LoadingWorker,
) -> None:
    """It is tried once more after an eviction."""
    old, ref = loading.publish("old", 20), loading.publish("a", 20)
    await loading.load(old)
    full = [DeviceOutOfMemory("the device has no memory left for this")]
    load = loading.load_model

    def fails_once(*args: object) -> object:
        if full:
            raise full.pop()
        return load(*args)

    loading.load_model = fails_once
    await loading.load(ref)
    assert loading.models["old"].unloaded and await loading.holders(old) == []
    assert loading.parts.ledger.used == 20


async def test_what_a_load_had_allocated_is_gone_before_a_copy_is_evicted_for_it(
    loading: LoadingWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the second try finds no more memory than the first, and evicts for nothing."""
    ref = loading.publish("a", 20)
    await loading.load(loading.publish("old", 20))
    left: list[weakref.ref[object]] = []
    load, evict_one = loading.load_model, loading.room.evict_one
    seen: list[object] = []

    class Weights:
        """Bytes on the device."""

    def fails_once(*args: object) -> object:
        if left:
            return load(*args)
        weights = Weights()
        left.append(weakref.ref(weights))
        raise DeviceOutOfMemory("the device has no memory left for this")

    async def looked(*given: object) -> bool:
        seen.append(left[0]())
        return await evict_one()

    loading.load_model = fails_once
    monkeypatch.setattr(loading.room, "evict_one", looked)
    await loading.load(ref)
    assert seen == [None]


async def test_a_load_that_never_finds_memory_fails_and_touches_no_copy_in_use(
    loading: LoadingWorker,
) -> None:
    """What it waited for is told why; the worker lives."""
    busy, ref = loading.publish("busy", 20), loading.publish("a", 20)
    await loading.load(busy)
    copy = loading.parts.copies.acquire(busy)
    loading.errors["a"] = DeviceOutOfMemory("the device has no memory left for this")
    await loading.order(ref)

    async def told() -> bool:
        return bool(await loading.cell.replies())

    await wait_until(told)
    (reply,) = await loading.cell.replies()
    assert reply["outcome"].startswith(b"insufficient_memory")
    assert not loading.models["busy"].unloaded
    loading.parts.copies.release(copy)
    assert loading.parts.ledger.used == 20


async def test_a_load_that_waits_says_why(
    loading: LoadingWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its lease, where the gateways read it."""
    pinned, ref = (
        loading.publish("pinned", 90, residency=Policy(pin=True)),
        loading.publish("a", 50),
    )
    await loading.load(pinned)
    await loading.order(ref)

    async def said() -> bool:
        return bool(await loading.cell.client.hget(loading.cell.keys.load(ref), "why"))

    await wait_until(said)
    assert loading.models["pinned"].unloaded is False
    await loading.loader.stop()
    await asyncio.sleep(0)
    assert loading.parts.ledger.used == 90
