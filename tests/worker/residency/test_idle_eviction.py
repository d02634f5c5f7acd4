"""Copies that leave by themselves: idle ones, and those that other workers have time for."""

from __future__ import annotations

from collections.abc import Sequence
from unittest.mock import AsyncMock

import pytest

from shared import clock
from shared.errors import Unavailable
from shared.manifest import Manifest
from shared.policy import Policy
from tests.helpers.loading import LoadingWorker
from worker.residency import idle_eviction as module
from worker.residency.copies import NEVER
from worker.residency.idle_eviction import IdleEvictor
from worker.residency.model_stats import ModelStats


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
    begun = clock.monotonic()
    assert await idle_eviction.run_once() == 0
    assert sorted(await loading.holders(ref)) == [b"w1", b"w2"]
    copy = loading.parts.copies.get(ref)
    assert not copy.retiring and copy.stays_until > begun


async def test_what_nobody_changed_is_not_read_again(
    loading: LoadingWorker, idle_eviction: IdleEvictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the copy that is named is; after a while each is, in case that was lost."""
    refs = [loading.publish(name, 20) for name in ("a", "b")]
    for ref in refs:
        await loading.load(ref)
    read: list[str] = []
    given = loading.stats.read

    async def noted(models: Sequence[tuple[str, Manifest]]) -> list[ModelStats]:
        read.extend(ref for ref, _ in models)
        return await given(models)

    monkeypatch.setattr(loading.stats, "read", noted)
    await idle_eviction.run_once()
    assert sorted(read) == sorted(refs)
    await idle_eviction.run_once()
    loading.parts.copies.look_again([refs[0], "gone"])
    await idle_eviction.run_once()
    assert read[2:] == [refs[0]]
    loading.parts.copies.get(refs[1]).read_at -= module.READ_EVERY_S
    await idle_eviction.run_once()
    assert read[3:] == [refs[1]]
    loading.parts.copies.get(refs[0]).read_at -= module.READ_EVERY_S - module.TOGETHER_S / 2
    await idle_eviction.run_once()
    assert read[4:] == []
    loading.parts.copies.get(refs[1]).read_at -= module.READ_EVERY_S
    await idle_eviction.run_once()
    assert read[4:] == [refs[1], refs[0]], "what is due soon is read with what is due"


async def test_a_read_that_failed_is_repeated(
    loading: LoadingWorker, idle_eviction: IdleEvictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was to be read is not forgotten; and of many copies some wait for the next round."""
    for name in ("a", "b"):
        await loading.load(loading.publish(name, 20))
    monkeypatch.setattr(module, "READ_MOST", 1)
    with monkeypatch.context() as away:
        away.setattr(loading.stats, "read", AsyncMock(side_effect=Unavailable("away")))
        with pytest.raises(Unavailable):
            await idle_eviction.run_once()

    def unread() -> int:
        return sum(copy.read_at == NEVER for copy in loading.parts.copies.all())

    assert unread() == 2
    await idle_eviction.run_once()
    assert unread() == 1


async def test_the_cell_is_asked_more_and_more_rarely_for_a_copy_that_it_needs(
    loading: LoadingWorker, idle_eviction: IdleEvictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And at once when something has changed. One that its policy requires is not asked for."""
    ref = loading.publish("a", 60)
    await loading.load(ref)
    await second_holder(loading, ref, busy=0.5)
    for _ in range(50):
        loading.parts.meter.add(ref, 0.5, 1)
    copy = loading.parts.copies.get(ref)
    for asks in (1, 2, 3):
        copy.ask_at = copy.stays_until = 0.0
        assert await idle_eviction.run_once() == 0
        assert copy.asks == asks
        assert await idle_eviction.run_once() == 0
        assert copy.asks == asks
    await loading.cell.scripts.set_policy(ref, {"min_copies": "2"})
    copy.read_at, copy.stays_until = NEVER, 0.0
    assert await idle_eviction.run_once() == 0
    assert copy.required and copy.asks == 0
    await loading.cell.client.delete(loading.cell.keys.policy(ref), loading.cell.keys.min_copies)


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
