"""What the event log says about copies."""

from __future__ import annotations

import math
from typing import Any

import redis

from deploy.bench.history import concurrent_loads, double_loads, read_events, stays
from deploy.local.redis_server import RedisServer
from shared.events import Event, encode
from shared.keys import Keys

A, B = "a:1:0123", "b:1:4567"


def event(at: int, kind: str, worker: str = "w1", ref: str = A, **more: Any) -> Event:
    return Event(id=f"{at}-0", kind=kind, worker=worker, ref=ref, **more)


def test_a_copy_stays_from_its_load_to_its_eviction() -> None:
    """Its load began so many seconds before, and so did its eviction; another worker's or model's
    eviction is not its."""
    (copy,) = stays(
        [
            event(5_000, "loaded", seconds=2.0),
            event(6_000, "evicted", worker="w2"),
            event(6_500, "evicted", ref=B),
            event(9_000, "evicted", seconds=0.5, reason="room for b"),
        ]
    )
    assert (copy.started, copy.since, copy.went_from, copy.until) == (3_000, 5_000, 8_500, 9_000)
    assert copy.reason == "room for b"


def test_a_demoted_copy_is_off_the_device_until_it_is_promoted() -> None:
    """Two stays of one model on one worker."""
    first, second = stays(
        [
            event(1_000, "loaded"),
            event(2_000, "demoted", tier_from="device", tier_to="host"),
            event(3_000, "promoted", tier_from="host", tier_to="device"),
        ]
    )
    assert (first.until, second.since, second.until) == (2_000, 3_000, math.inf)


def test_a_worker_that_starts_again_has_nothing() -> None:
    """Whatever it held is gone; the others' copies are not."""
    first, second = stays(
        [event(1_000, "loaded"), event(1_000, "loaded", "w2"), event(2_000, "restarted", ref="")]
    )
    assert (first.until, second.until) == (2_000, math.inf)


def test_a_load_of_what_another_holds_is_a_double_one() -> None:
    """From the moment it began; what the other has evicted by then is none."""
    held = [event(1_000, "loaded"), event(5_000, "evicted")]
    during = event(7_000, "loaded", "w2", seconds=3.0)
    after = event(7_000, "loaded", "w2", seconds=1.0)
    assert [copy.worker for copy in double_loads(stays([*held, during]))] == ["w2"]
    assert double_loads(stays([*held, after])) == []
    assert double_loads(stays([*held, event(4_000, "loaded", "w2", B)])) == []


def test_loads_of_one_model_at_the_same_time_are_found() -> None:
    """Not those that touch by as little as the writing of an event takes."""
    first = event(5_000, "loaded", seconds=2.0)
    assert concurrent_loads(stays([first, event(6_000, "loaded", "w2", seconds=2.0)])) != []
    assert concurrent_loads(stays([first, event(7_000, "loaded", "w2", seconds=2.02)])) == []
    assert concurrent_loads(stays([first, event(6_000, "loaded", "w2", B, seconds=2.0)])) == []


def test_events_are_read_on_from_where_one_stopped(own_redis: RedisServer) -> None:
    """None twice, and none left out."""

    keys = Keys("history")
    with redis.Redis.from_url(own_redis.url) as client:
        for kind in ("loaded", "evicted"):
            flat = encode(Event(kind=kind, worker="w1", ref=A))
            client.execute_command("XADD", keys.events, "*", *flat)
        first = read_events(client, keys)
        client.execute_command("XADD", keys.events, "*", "kind", "demoted")
        assert [one.kind for one in first] == ["loaded", "evicted"]
        assert [one.kind for one in read_events(client, keys, first[-1].id)] == ["demoted"]
