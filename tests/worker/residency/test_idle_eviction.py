"""Copies that leave by themselves: idle ones, and those that other workers have time for."""

from __future__ import annotations

import pytest

from shared import clock
from shared.policy import Policy
from tests.helpers.loading import LoadingWorker
from worker.residency import idle_eviction as module
from worker.residency.idle_eviction import IdleEvictor


@pytest.fixture
def idle_eviction(loading: LoadingWorker, monkeypatch: pytest.MonkeyPatch) -> IdleEvictor:
    """Of a worker whose shares are known at once."""
    monkeypatch.setattr(module, "SETTLED_S", -1.0)
    return IdleEvictor(loading.parts, loading.evictor, loading.stats)


async def second_holder(loading: LoadingWorker, ref: str, busy: float = 0.0) -> None:
    """Worker w2 holds it too, and its device is so busy."""
    await loading.cell.worker("w2", holds=[ref])
    await loading.cell.client.hset(loading.cell.keys.worker("w2"), "busy", busy)


async def test_a_copy_without_a_limit_stays_however_long_it_is_idle(
    loading: LoadingWorker, idle_eviction: IdleEvictor
) -> None:
    """The default."""
    ref = loading.publish("a", 60)
    await loading.load(ref)
    loading.parts.copies.get(ref).last_used -= 1e6
    assert await idle_eviction.run_once() == 0
    assert await loading.holders(ref) == [b"w1"]


async def test_an_idle_copy_leaves_after_its_time(
    loading: LoadingWorker, idle_eviction: IdleEvictor
) -> None:
    """Not before, and the map forgets it."""
    ref = loading.publish("a", 60, residency=Policy(idle_ttl_s=100))
    await loading.load(ref)
    assert await idle_eviction.run_once() == 0
    loading.parts.copies.get(ref).last_used -= 101
    assert await idle_eviction.run_once() == 1
    assert (await loading.holders(ref), loading.parts.ledger.used) == ([], 0)


@pytest.mark.parametrize("policy", [{"pin": "1"}, {"min_copies": "1"}, {"idle_ttl_s": "0"}])
async def test_the_api_can_keep_it(
    loading: LoadingWorker, idle_eviction: IdleEvictor, policy: dict[str, str]
) -> None:
    """What it sets is read before anything leaves."""
    ref = loading.publish("a", 60, residency=Policy(idle_ttl_s=100))
    await loading.load(ref)
    await loading.cell.scripts.set_policy(ref, policy)
    loading.parts.copies.get(ref).last_used -= 101
    assert await idle_eviction.run_once() == 0
    await loading.cell.client.delete(loading.cell.keys.policy(ref), loading.cell.keys.min_copies)


async def test_a_copy_in_use_does_not_leave(
    loading: LoadingWorker, idle_eviction: IdleEvictor
) -> None:
    """Whatever its clock says."""
    ref = loading.publish("a", 60, residency=Policy(idle_ttl_s=100))
    await loading.load(ref)
    copy = loading.parts.copies.acquire(ref)
    copy.last_used -= 101
    assert await idle_eviction.run_once() == 0
    loading.parts.copies.release(copy)


async def test_a_further_copy_leaves_when_the_others_have_time_for_its_work(
    loading: LoadingWorker, idle_eviction: IdleEvictor
) -> None:
    """The one that is left holds the model alone."""
    ref = loading.publish("a", 60)
    await loading.load(ref)
    await second_holder(loading, ref, busy=0.1)
    assert await idle_eviction.run_once() == 1
    assert await loading.holders(ref) == [b"w2"]


async def test_a_further_copy_stays_while_it_is_needed(
    loading: LoadingWorker, idle_eviction: IdleEvictor
) -> None:
    """Its share of this device would not fit beside what the other one does."""
    ref = loading.publish("a", 60)
    await loading.load(ref)
    await second_holder(loading, ref, busy=0.5)
    for _ in range(50):
        loading.parts.meter.add(ref, 0.5, 1)
    assert await idle_eviction.run_once() == 0
    assert sorted(await loading.holders(ref)) == [b"w1", b"w2"]
    copy = loading.parts.copies.get(ref)
    assert not copy.retiring and copy.stays_until > clock.monotonic()


async def test_the_last_copy_never_counts_as_a_further_one(
    loading: LoadingWorker, idle_eviction: IdleEvictor
) -> None:
    """Of two workers that look at the same time only one lets go."""
    ref = loading.publish("a", 60)
    await loading.load(ref)
    await second_holder(loading, ref)
    await idle_eviction._refresh(loading.parts.copies.all())
    epoch = (await loading.cell.client.hget(loading.cell.keys.worker("w2"), "epoch")).decode()
    assert await loading.cell.scripts.retire("w2", epoch, ref, "", "spare", 0.0) == "0-0"
    assert not await idle_eviction._is_evicted(loading.parts.copies.get(ref))
    assert await loading.holders(ref) == [b"w1"]
