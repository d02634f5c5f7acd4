"""8. A gateway dies: `kill -9`, with requests that it has accepted.

A gateway keeps nothing that matters. What it answered with 202 is in Redis, so any other gateway
can say what became of it. Callers that waited on a connection to the dead one see it break, and may
not know whether their request ran: whoever must know submits.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.helpers.models import Mlp, Slow
from tests.helpers.stack import Stack
from tests.helpers.wait import block_until
from warmroute import ConnectionFailed


def test_what_a_killed_gateway_accepted_is_answered_through_another(
    stack: Stack, slow: Slow, mlp: Mlp
) -> None:
    """Running, waiting and parked requests, each submitted to the gateway that dies."""
    stack.scale(gateways=2)
    survivor, victim = stack.gateways
    client = stack.client(victim)
    client.infer(slow.name, slow.question(0.01))
    with slow.holding() as held:
        slow_ones = [client.submit(slow.name, held) for _ in range(3)]
        question = mlp.question()
        parked = client.submit(mlp.name, question)

        stack.kill(victim)

    other = stack.client(survivor)
    assert all(other.pending(one.id).result(timeout=50)["done"] > 0 for one in slow_ones)
    assert mlp.right(question, other.pending(parked.id).result(timeout=50)["y"])


def test_a_caller_that_waited_at_the_killed_gateway_is_told(stack: Stack, slow: Slow) -> None:
    """Its connection breaks; the cell goes on, and the dead gateway's lease runs out."""
    stack.scale(gateways=2)
    survivor, victim = stack.gateways
    with ThreadPoolExecutor(1) as caller, slow.holding() as question:
        call = caller.submit(stack.client(victim).infer, slow.name, question)
        block_until(lambda: stack.holders(slow.name))

        stack.kill(victim)

        with pytest.raises(ConnectionFailed):
            call.result()
    assert stack.client(survivor).infer(slow.name, slow.question(0.01))["done"] > 0
    block_until(lambda: stack.redis.zcard(stack.keys.gateways) == 1)
