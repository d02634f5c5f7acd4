"""How many connections to Redis a process takes: a cell of thousands of workers counts them."""

from __future__ import annotations

from tests.helpers.stack import Stack
from tests.helpers.wait import block_until


def connections(stack: Stack) -> int:
    """Open now, without the one that asks."""
    return len(stack.redis.client_list()) - 1


def test_a_worker_at_rest_has_three(stack: Stack) -> None:
    """For calls, for requests, and for its heartbeat, which waits for orders too."""
    before = connections(stack)
    newcomer = stack.add_worker()
    block_until(lambda: connections(stack) == before + 3, 60)
    assert newcomer.stop() == 0
