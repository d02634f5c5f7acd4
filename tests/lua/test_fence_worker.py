"""fence_worker: the parent of a dead device process returns its work; only what ran is charged."""

from __future__ import annotations

from tests.helpers.cell import LEASE_MS, MAX_ATTEMPTS, Cell
from tests.helpers.factories import OTHER_REF, REF, kept, placing

CAUSE = "its device process was killed by SIGSEGV"


async def fence(cell: Cell, epoch: str, batch: int, worker: str = "w1") -> int:
    return await cell.scripts.fence_worker(worker, epoch, batch, CAUSE, MAX_ATTEMPTS)


async def attempts(cell: Cell, key: str) -> dict[bytes, bytes]:
    """Attempts by body of what lies in a stream."""
    return {e.fields["body"]: e.fields["attempts"] for e in await cell.stream(key)}


async def test_only_the_batch_on_the_device_is_charged(cell: Cell) -> None:
    """Not the one begun behind it, nor what was only taken in; all of it is moved."""
    epoch = await cell.worker("w1", holds=[REF])
    await cell.place(*(placing(body=body) for body in (b"ran", b"next", b"read")))
    ran, following, _ = await cell.read()
    await cell.begin("w1", epoch, [ran], batch=7)
    await cell.begin("w1", epoch, [following], batch=8)
    assert await fence(cell, epoch, 7) == 3
    expected = {b"ran": b"1", b"next": b"0", b"read": b"0"}
    assert await attempts(cell, cell.keys.parked(REF)) == expected
    left = (cell.keys.worker("w1"), cell.keys.started("w1"), cell.keys.work("w1"))
    assert await cell.exists(*left, cell.keys.holders(REF), cell.keys.workers) == []


async def test_if_a_request_is_to_blame_neither_a_model_nor_the_worker_is(cell: Cell) -> None:
    """The device stopped at an assertion in one of them. Nor is a load that was in flight."""
    epoch = await cell.worker("w1", holds=[REF])
    await cell.place(kept(ref=OTHER_REF))
    await cell.claim("w1", epoch, OTHER_REF)
    await cell.place(*(placing(body=body) for body in (b"ran", b"ran too", b"read")))
    ran, too, _ = await cell.read()
    await cell.begin("w1", epoch, [ran, too], batch=7)
    await cell.scripts.fence_worker("w1", epoch, 7, CAUSE, MAX_ATTEMPTS, charge_models=False)
    expected = {b"ran": b"1", b"ran too": b"1", b"read": b"0"}
    assert await attempts(cell, cell.keys.parked(REF)) == expected
    assert await cell.exists(cell.keys.breaker(REF), cell.keys.breaker(OTHER_REF)) == []


async def test_an_epoch_that_is_not_current_is_left_alone(cell: Cell) -> None:
    """The new process was faster, or a gateway was: register and reap have moved everything."""
    old = await cell.worker("w1", holds=[REF])
    new = await cell.worker("w1", holds=[REF])
    await cell.place(placing())
    assert await fence(cell, old, 1) == -1
    assert await cell.client.xlen(cell.keys.work("w1")) == 1
    assert await fence(cell, new, 0) == 1
    assert await fence(cell, new, 0) == -1


async def test_what_was_placed_goes_to_another_holder_with_a_record(cell: Cell) -> None:
    """From here on its gateway does not know where it is: a cancel finds it by its record."""
    epoch = await cell.worker("w1", holds=[REF])
    item = placing()
    (placed,) = await cell.place(item)
    await cell.worker("w2", holds=[REF])
    await fence(cell, epoch, 0)
    assert (await cell.record(item.id))["stream"] == cell.keys.work("w2").encode()
    stream = cell.keys.work(placed.detail)
    assert await cell.cancel(item.id, stream, placed.entry) == "cancelled"
    assert await cell.client.xlen(cell.keys.work("w2")) == 0


async def test_a_load_in_flight_is_charged_and_ordered_again_at_once(cell: Cell) -> None:
    """Whoever claims it next loads it alone."""
    epoch = await cell.worker("w1")
    other = await cell.worker("w2")
    await cell.place(kept())
    token = await cell.claim("w1", epoch)
    await fence(cell, epoch, 0)
    assert await cell.client.hget(cell.keys.breaker(REF), "crashes") == b"1"
    again = await cell.token()
    assert again not in ("", token)
    assert await cell.scripts.claim_load("w2", other, REF, again, LEASE_MS) == "suspect"


async def test_what_is_too_late_expires_instead_of_moving(cell: Cell) -> None:
    """It would only be refused by the next worker."""
    cell.scripts.now_ms = 1_000_000
    epoch = await cell.worker("w1", holds=[REF])
    late = kept(timeout_ms=10)
    await cell.place(late)
    cell.scripts.now_ms += 10
    await fence(cell, epoch, 0)
    assert (await cell.record(late.id))["status"] == b"expired"
    assert await cell.exists(cell.keys.parked(REF), cell.keys.deadlines) == []


async def test_after_the_last_attempt_it_is_a_dead_letter_and_others_go_on(cell: Cell) -> None:
    """With the parent's cause; the request behind it is untouched."""
    item = kept(body=b"poison")
    await cell.worker("w2", holds=[OTHER_REF])
    for round_ in range(MAX_ATTEMPTS):
        epoch = await cell.worker("w1", holds=[REF])
        if round_ == 0:
            await cell.place(item)
        else:
            await cell.scripts.sweep()
        await cell.client.delete(cell.keys.load(REF))
        await cell.scripts.sweep()
        await cell.place(kept(body=b"innocent"))
        entries = await cell.read()
        poison = next(e for e in entries if e.fields["body"] == b"poison")
        await cell.begin("w1", epoch, [poison], batch=3)
        await fence(cell, epoch, 3)
    (letter,) = await cell.stream(cell.keys.dead_letters)
    assert letter.fields["cause"] == f"dead_lettered after 3 starts: {CAUSE}".encode()
    assert letter.fields["worker"] == b"w1"
    assert (await cell.record(item.id))["status"] == b"failed"
    assert set((await attempts(cell, cell.keys.parked(REF))).values()) == {b"0"}
