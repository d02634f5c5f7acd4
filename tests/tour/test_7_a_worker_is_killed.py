"""7. A worker dies: `kill -9`, while requests run and wait on it.

A worker renews a lease in Redis each second. When the lease has run out, a gateway takes everything
that the dead worker still had and places it again: on another holder, or parked for a load. What
was running may run twice, but its caller gets one answer.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.helpers.models import Slow
from tests.helpers.stack import Stack
from tests.helpers.wait import block_until


def test_everything_a_killed_worker_had_is_answered_by_another(stack: Stack, slow: Slow) -> None:
    """Callers that wait on their connection and requests that were submitted alike."""
    stack.scale(workers=2)
    client = stack.client()
    holder = client.infer(slow.name, slow.question(0.01)).worker
    with ThreadPoolExecutor(3) as callers, slow.holding() as question:
        submitted = [client.submit(slow.name, question) for _ in range(3)]
        waiting = [callers.submit(client.infer, slow.name, question) for _ in range(3)]
        block_until(lambda: stack.residency()[str(holder)]["queue"] == 6)
        block_until(lambda: submitted[0].status() == "running")

        stack.kill(stack.worker(holder))

    answers = [request.result(timeout=50) for request in submitted]
    answers += [each.result() for each in waiting]

    assert [int(answer["done"][0]) for answer in answers] == [int(question["steps"][0])] * 6
    assert {answer.worker for answer in answers} == {stack.workers[0].name}
    assert holder not in stack.residency()


def test_what_the_last_worker_had_waits_for_the_next_one(stack: Stack, slow: Slow) -> None:
    """With no worker left, accepted requests are kept; who asks is told that they are queued."""
    client = stack.client()
    client.infer(slow.name, slow.question(0.01))
    with slow.holding() as question:
        running = client.submit(slow.name, question)
        block_until(lambda: running.status() == "running")
        stack.kill(stack.workers[0])
    block_until(lambda: running.status() == "queued")
    assert stack.residency() == {}
    assert "worker" not in running.describe()  # it is on none

    newcomer = stack.add_worker()

    answer = running.result(timeout=50)
    assert (answer.worker, answer.cold) == (newcomer.name, True)
