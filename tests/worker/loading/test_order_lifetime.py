"""A load order never stays in Redis without a lifetime, whatever RQ was doing when it ended."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from tests.helpers.order_bench import GOOD, KEYS, OrderBench
from worker.loading.rq_worker import ORDER_LIFE_S


def test_an_order_has_a_lifetime_while_it_is_answered(
    orders: OrderBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RQ takes it away when it begins: a worker that was killed then would leave it for ever."""
    job, seen = orders.push(GOOD), []

    def claim(ref: str, token: str) -> str:
        seen.append(orders.client.ttl(KEYS.rq_job(job)))
        return "claimed"

    monkeypatch.setattr(orders, "_claim", claim)
    orders.work()
    assert len(seen) == 1 and 0 < seen[0] <= ORDER_LIFE_S


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("taken_back", [False, True])
def test_an_order_has_a_lifetime_wherever_its_worker_is_killed(
    orders: OrderBench, monkeypatch: pytest.MonkeyPatch, taken_back: bool
) -> None:
    """Before each single message to Redis once: RQ's own steps take it away, or make it anew of a
    job that was taken back while it was answered."""
    send, left, kills = redis.Connection.send_packed_command, 0, 0

    def send_or_die(self: Any, *args: Any, **options: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        send(self, *args, **options)

    def claim(ref: str, token: str) -> str:
        if taken_back:
            monkeypatch.setattr(redis.Connection, "send_packed_command", send)
            orders.client.delete(KEYS.rq_job(job))
            monkeypatch.setattr(redis.Connection, "send_packed_command", send_or_die)
        orders.claims.append((ref, token))
        return "claimed"

    monkeypatch.setattr(orders, "_claim", claim)
    for step in range(1, 200):
        job = orders.push(GOOD)
        orders.client.expire(KEYS.rq_job(job), ORDER_LIFE_S)
        left = step
        monkeypatch.setattr(redis.Connection, "send_packed_command", send_or_die)
        try:
            orders.work()
            break
        except Killed:
            kills += 1
        finally:
            monkeypatch.setattr(redis.Connection, "send_packed_command", send)
            assert orders.client.ttl(KEYS.rq_job(job)) != -1, f"killed before message {step}"
            orders.client.delete(KEYS.rq_queue())
    assert kills > 10 and orders.claims
