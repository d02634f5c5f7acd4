"""fail_load: a failed load is charged to its worker until distinct workers agree (I36)."""

from __future__ import annotations

import pytest

from tests.helpers.cell import LEASE_MS, Cell
from tests.helpers.factories import OTHER_REF, REF, kept, placing
from tests.lua.fleet import NOW_MS, claim, lease, members, worker

BACKOFF_MS = 10_000
FORBIDDEN, DISK_FULL = b"forbidden the store refused", b"disk_full no room"


async def fail(
    cell: Cell, name: str, epoch: str, cause: bytes = FORBIDDEN, scope: str = "worker",
    device_class: str = "",
) -> int:  # fmt: skip
    """The worker claims the order there is, and cannot load the model."""
    token = await cell.claim(name, epoch)
    return await cell.scripts.fail_load(
        name, REF, token, cause, BACKOFF_MS, cause == DISK_FULL, device_class, scope=scope
    )


async def workers(cell: Cell, number: int, **report: str) -> dict[str, str]:
    """Their epochs, by name."""
    cell.scripts.now_ms = NOW_MS
    return {f"w{n}": await worker(cell, f"w{n}", **report) for n in range(1, number + 1)}


@pytest.mark.parametrize("cause", [FORBIDDEN, DISK_FULL])
async def test_one_worker_refuses_no_model_for_the_others(cell: Cell, cause: bytes) -> None:
    """Whatever is the cause: who waits goes on waiting, and new requests join them."""
    epochs = await workers(cell, 2)
    item = kept()
    await cell.place(item)
    assert await fail(cell, "w1", epochs["w1"], cause) == 0
    assert (await cell.record(item.id))["status"] == b"parked"
    assert [placed.status for placed in await cell.place(placing())] == ["parked"]
    assert await claim(cell, "w1", epochs["w1"]) == "refused"
    assert await claim(cell, "w2", epochs["w2"]) == "claimed"


async def test_it_is_not_asked_again_for_a_while_that_gets_longer(cell: Cell) -> None:
    """For later orders too, and twice as long each time; for other models it is."""
    epochs = await workers(cell, 2)
    for pause in (BACKOFF_MS, 2 * BACKOFF_MS, 4 * BACKOFF_MS):
        await cell.place(kept())
        await fail(cell, "w1", epochs["w1"])
        await cell.client.delete(cell.keys.load(REF))
        await cell.scripts.sweep()
        assert await claim(cell, "w1", epochs["w1"]) == "refused"
        cell.scripts.now_ms = (cell.scripts.now_ms or 0) + pause - 1
        for name in epochs:
            await cell.client.zadd(cell.keys.workers, {name: cell.scripts.now_ms + LEASE_MS})
        assert await claim(cell, "w1", epochs["w1"]) == "refused"
        cell.scripts.now_ms += 1
    await cell.place(kept(ref=OTHER_REF))
    assert await claim(cell, "w1", epochs["w1"], OTHER_REF) == "claimed"


async def test_it_may_take_the_order_that_nobody_has_taken_when_its_time_is_over(
    cell: Cell,
) -> None:
    """The other worker has no memory, or is busy: requests do not wait for it alone."""
    epochs = await workers(cell, 2)
    await cell.place(kept())
    await fail(cell, "w1", epochs["w1"])
    cell.scripts.now_ms = NOW_MS + BACKOFF_MS
    assert await claim(cell, "w1", epochs["w1"]) == "claimed"


async def test_one_that_refuses_an_order_does_not_take_the_next_for_an_old_failure(
    cell: Cell,
) -> None:
    """It would refuse that one too, and so on until another worker is faster."""
    epochs = await workers(cell, 2)
    await cell.place(kept())
    await fail(cell, "w1", epochs["w1"])
    cell.scripts.now_ms = NOW_MS + BACKOFF_MS
    await cell.client.zadd(cell.keys.workers, dict.fromkeys(epochs, NOW_MS + 2 * BACKOFF_MS))
    assert await claim(cell, "w1", epochs["w1"]) == "claimed"
    assert await cell.scripts.refuse_load("w1", REF, await cell.token()) == "ordered"
    assert await claim(cell, "w1", epochs["w1"]) == "refused"
    assert await claim(cell, "w2", epochs["w2"]) == "claimed"


async def test_a_success_is_a_clean_slate(cell: Cell) -> None:
    """Of the worker that loaded it after all; the failures of others stay."""
    epochs = await workers(cell, 3)
    await cell.place(kept())
    await fail(cell, "w1", epochs["w1"])
    await fail(cell, "w2", epochs["w2"])
    cell.scripts.now_ms = NOW_MS + BACKOFF_MS
    await cell.scripts.announce(
        "w1", epochs["w1"], REF, await cell.claim("w1", epochs["w1"]), "device 1"
    )
    assert await cell.client.hkeys(cell.keys.failed_on(REF)) == [b"w2"]


async def test_when_all_agree_the_cause_names_them(cell: Cell) -> None:
    """Who waits is answered, and new requests get it at once."""
    epochs = await workers(cell, 2)
    item = kept()
    await cell.place(item)
    await fail(cell, "w1", epochs["w1"])
    await fail(cell, "w2", epochs["w2"])
    said = b"forbidden 2 workers could not load it (w1, w2), the last: the store refused"
    assert (await cell.record(item.id))["outcome"] == said
    (refused,) = await cell.place(placing())
    assert (refused.status, refused.detail.encode()) == ("unloadable", said)


async def test_a_cell_of_one_worker_answers_at_once_with_the_true_cause(cell: Cell) -> None:
    """Nobody else could be asked."""
    epochs = await workers(cell, 1)
    item = kept()
    await cell.place(item)
    assert await fail(cell, "w1", epochs["w1"]) == 0
    assert (await cell.record(item.id))["outcome"] == FORBIDDEN


async def test_who_waits_goes_on_if_one_of_the_causes_may_pass(cell: Cell) -> None:
    """It may be able to load it later."""
    epochs = await workers(cell, 2)
    item = kept()
    await cell.place(item)
    await fail(cell, "w1", epochs["w1"], DISK_FULL)
    await fail(cell, "w2", epochs["w2"])
    assert (await cell.record(item.id))["status"] == b"parked"
    assert (await cell.place(placing()))[0].status == "unloadable"
    cell.scripts.now_ms = NOW_MS + BACKOFF_MS
    await cell.client.delete(cell.keys.unloadable(REF))
    assert await cell.scripts.sweep() == (0, 1, 0)


async def test_an_order_has_somebody_who_may_take_it(cell: Cell) -> None:
    """If every worker has failed a while ago, any of them may try again."""
    epochs = await workers(cell, 2)
    await cell.place(kept())
    await fail(cell, "w1", epochs["w1"], DISK_FULL)
    await fail(cell, "w2", epochs["w2"], DISK_FULL)
    await cell.client.delete(cell.keys.unloadable(REF))
    await cell.scripts.sweep()
    assert (await lease(cell))["refused"] == ""


async def test_a_cause_that_is_proved_asks_nobody_else(cell: Cell) -> None:
    """Its bytes are wrong in the store."""
    epochs = await workers(cell, 2)
    item = kept()
    await cell.place(item)
    await fail(cell, "w1", epochs["w1"], b"corrupt its hash is wrong", "model")
    assert (await cell.record(item.id))["outcome"] == b"corrupt its hash is wrong"


async def test_so_many_are_asked_at_most(cell: Cell) -> None:
    """Where a store is away, a thousand workers need not find out one after the other."""
    epochs = await workers(cell, 10)
    await cell.place(kept())
    asked = 0
    for name, epoch in epochs.items():
        if await cell.exists(cell.keys.unloadable(REF)):
            break
        await fail(cell, name, epoch, DISK_FULL)
        asked += 1
    assert asked == 8
    said = (await cell.place(placing()))[0].detail
    assert said.startswith("disk_full 8 workers could not load it (w1, w2, w3, w4 and 4 more)")


async def test_one_worker_convicts_no_class(cell: Cell) -> None:
    """Its driver may be broken. Two agree; or it is the only one of its class."""
    epochs = await workers(cell, 3, device_class="a")
    await cell.place(kept())
    await fail(cell, "w1", epochs["w1"], b"load_failed no", "class", "a")
    assert await members(cell, cell.keys.incompatible(REF)) == set()
    await fail(cell, "w2", epochs["w2"], b"load_failed no", "class", "a")
    assert await members(cell, cell.keys.incompatible(REF)) == {"a"}


async def test_a_disk_convicts_no_class(cell: Cell) -> None:
    """Nor do two: only causes of that scope."""
    epochs = await workers(cell, 3, device_class="a")
    await cell.place(kept())
    await fail(cell, "w1", epochs["w1"], DISK_FULL, "worker", "a")
    await fail(cell, "w2", epochs["w2"], DISK_FULL, "worker", "a")
    assert await members(cell, cell.keys.incompatible(REF)) == set()


async def test_a_restarted_worker_does_not_reload_what_it_failed_to_load(cell: Cell) -> None:
    """Until its time is over."""
    epochs = await workers(cell, 2)
    await cell.place(kept())
    await fail(cell, "w1", epochs["w1"])
    await cell.client.delete(cell.keys.load(REF))
    assert await cell.scripts.reload("w1", epochs["w1"], REF, LEASE_MS) == ""
    cell.scripts.now_ms = NOW_MS + BACKOFF_MS
    assert await cell.scripts.reload("w1", epochs["w1"], REF, LEASE_MS) != ""


async def test_the_memory_is_bounded(cell: Cell) -> None:
    """The failures that end first are forgotten first."""
    epochs = await workers(cell, 40)
    for n, (name, epoch) in enumerate(epochs.items()):
        cell.scripts.now_ms = NOW_MS + n
        await cell.client.delete(cell.keys.load(REF), cell.keys.unloadable(REF))
        await cell.place(kept())
        await fail(cell, name, epoch, DISK_FULL)
    known = await cell.client.hkeys(cell.keys.failed_on(REF))
    assert len(known) == 32 and b"w1" not in known and b"w40" in known
