"""Schedules of the whole system, each with its own faults: no rule is ever broken."""

from __future__ import annotations

import pytest

from deploy.local.redis_server import RedisServer
from tests.simulation.crowds import FLOODED
from tests.simulation.nemesis import FENCED
from tests.simulation.server import SimRedis
from tests.simulation.simulate import Totals, simulate, simulate_all

SCHEDULES = 200
LED = 20  # of them, to what is rare: neither a stall of Redis nor a gap of its clock costs a lease
# A run that reaches none of these has not tried what it is for.
REACHED = (
    "complete won", "complete not ours", "complete fenced", "begin run", "begin expired",
    "begin fenced",
    "begin gone", "place placed", "place parked", "place joined", "place mismatch",
    "place full", "place unloadable", "place quarantined", "cancel cancelled", "cancel succeeded",
    "claim_load claimed", "claim_load suspect", "claim_load stale", "announce done",
    "announce fenced", "fail_load done", "refuse_load no_worker",
    "refuse_load ordered", "heartbeat fenced", "heartbeat taken",
    "fence_worker done", "fence_worker late", "reap done", "register done", "reload done",
    "retire done", "leave done", "hand_over done",
    "sweep expired", "sweep ordered", "renew_load lost",
    "publish_reply answered", "publish_reply late", "load ran out", "ended succeeded",
    "ended failed", "ended cancelled",
    "ended expired", "client 500 dead_lettered", "client 503 outcome_unknown",
)  # fmt: skip
STRUCK = (
    "device process killed", "worker killed", "parent killed", "gateway killed",
    "process stopped", "gateway stopped", "cut from Redis", "command lost", "answer lost",
    "connection swallowed", "slow network", "Redis stalled", "write refused", "FLUSHALL",
    "script cache lost", "store down", "worker drained", "gateway drained", "id taken",
    "calls fail", "calls crash", "store forbids", "report lies", FENCED,
    "clock jumped", "calls fail: felt", "calls crash: felt", "store forbids: felt",
    "report lies: felt",
)  # fmt: skip


@pytest.fixture(scope="module")
def totals(server: SimRedis) -> Totals:
    """The schedules of the first seeds. In the last ones, workers stop until they are fenced."""
    totals = simulate_all(range(SCHEDULES - LED), server)
    for seed in range(SCHEDULES - LED, SCHEDULES):
        totals.add(simulate(seed, server, [FENCED, FLOODED]))
    return totals


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_schedule_breaks_a_rule(totals: Totals) -> None:
    """A seed that does is played again by `make simulate SEED=n`, with its trace."""
    print(f"{totals.schedules / totals.real_s:.1f} schedules/s")
    broken = {result.seed: result.violations for result in totals.bad}
    assert broken == {}, "\n".join(totals.bad[0].trace)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_outcome_and_every_fault_was_reached(totals: Totals) -> None:
    """In this very run; a tester that never gets there proves nothing."""
    assert [name for name in REACHED if not totals.outcomes[name]] == []
    assert [name for name in STRUCK if not totals.faults[name]] == []


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [3, 14, 181])
def test_a_seed_is_a_schedule(server: SimRedis, own_redis: RedisServer, seed: int) -> None:
    """Step by step the same, also on another Redis; and another one for another seed."""
    elsewhere = SimRedis(own_redis.url)
    first, again, other = simulate(seed, server), simulate(seed, elsewhere), simulate(4, server)
    elsewhere.close()
    assert (first.digest, first.steps) == (again.digest, again.steps)
    assert first.digest != other.digest
