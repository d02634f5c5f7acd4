"""The checks of `test_every_point.py` fail when they should: each is led astray, on purpose."""

from __future__ import annotations

import pytest

from tests.failpoints import dying_gateways, dying_workers
from tests.failpoints.asked import Count, Ledger
from tests.failpoints.field import Field

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SOON_S = 3.0


@pytest.fixture
def ledger(field: Field) -> Ledger:
    """One whose requests are not among those that are counted."""
    return Ledger(field.stack, field.ledger.history, Count())


def test_a_fault_aimed_at_the_wrong_process_is_noticed(field: Field) -> None:
    """A gateway never calls `begin`: nobody dies, every answer is right, and yet the run fails."""
    armed = field.gateway
    pids = dying_workers.warm(field, lambda: field.arm("gateway", "begin.before"))
    with pytest.raises(AssertionError, match="did not become true"):
        field.killed("begin.before", pids, SOON_S)
    field.disarm()
    assert armed.running and field.stack.device_pid(field.worker) == pids[0]
    field.ledger.check()


def test_the_death_of_another_process_is_no_proof(field: Field) -> None:
    """Of the one whose point it is."""
    pids = dying_gateways.housekeeping(field, lambda: field.arm("gateway", "sweep.before"))
    bystander = field.safe.child.pid
    assert bystander not in pids
    with pytest.raises(AssertionError, match="want one of"):
        field.killed("sweep.before", [bystander])
    field.disarm()
    field.ledger.check()
    field.forget_strikes()


def test_a_request_that_is_lost_is_noticed(field: Field, ledger: Ledger) -> None:
    """Taken out of Redis behind everybody's back, it ends at once, and not as it should."""
    field.ready_device()
    field.stack.pause(field.worker)
    try:
        model = field.cold()
        ledger.submit(model, timeout_s=1.0)
        (parked,) = field.stack.redis.scan_iter(field.stack.keys.parked(f"{model.name}:*"))
        assert field.stack.redis.delete(parked) == 1
        with pytest.raises(AssertionError, match="ended as failed"):
            ledger.check()
    finally:
        field.stack.resume(field.worker)


def test_an_outcome_that_comes_twice_is_noticed(field: Field, ledger: Ledger) -> None:
    """The second lies over the first, so the record alone does not show it."""
    field.ready_device()
    (request_id,) = ledger.submit(field.warm())
    field.stack.client().pending(request_id).result(timeout=30)
    record = {"status": "succeeded", "worker": "another"}
    field.stack.redis.hset(field.stack.keys.request(request_id), mapping=record)
    with pytest.raises(AssertionError, match="ended 2 times"):
        ledger.check()
    del ledger.history.ends[request_id]
