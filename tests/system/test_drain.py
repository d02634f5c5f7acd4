"""SIGTERM to a worker: it ends what it has begun, hands the rest to others, and leaves (I26)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.helpers.models import Mlp, Slow
from tests.helpers.stack import Process, Stack
from tests.helpers.wait import block_until
from tests.system.setup import refuses_connections

# Below the 20 s after which a load order that got lost is given up: none may get lost here.
PROMPTLY_S = 15
ENDED_S = 60


def begin_to_stop(stack: Stack, leaver: Process, slow: Slow) -> None:
    """SIGTERM; returns when it has given up its model, and so begins no further request."""
    leaver.child.terminate()
    block_until(lambda: leaver.name not in stack.holders(slow.name))


def test_a_stopped_worker_answers_what_it_runs_and_hands_over_what_waits(
    stack: Stack, slow: Slow
) -> None:
    """All are answered, none is run twice, and it exits 0."""
    client = stack.client()
    client.infer(slow.name, slow.question(0.01))
    leaver, heir = stack.workers[0], stack.add_worker()
    with slow.holding() as question:
        requests = [client.submit(slow.name, question) for _ in range(5)]
        block_until(lambda: requests[0].status() == "running")
        begin_to_stop(stack, leaver, slow)
    assert leaver.child.wait(ENDED_S) == 0

    answers = [request.result(timeout=PROMPTLY_S) for request in requests]
    assert all(answer["done"] == question["steps"] for answer in answers)
    assert answers[0].worker == leaver.name
    assert answers[-1].worker == heir.name
    assert set(stack.residency()) == {heir.name}
    assert "this is a bug" not in leaver.log and "Traceback" not in leaver.log


def test_a_worker_that_is_alone_hands_over_to_whoever_comes(stack: Stack, slow: Slow) -> None:
    """What waits is parked until there is a worker again; nothing is lost in between."""
    client = stack.client()
    client.infer(slow.name, slow.question(0.01))
    leaver = stack.workers[0]
    with slow.holding() as question:
        requests = [client.submit(slow.name, question) for _ in range(5)]
        block_until(lambda: requests[0].status() == "running")
        begin_to_stop(stack, leaver, slow)
    assert leaver.child.wait(ENDED_S) == 0
    assert stack.residency() == {}
    assert requests[-1].status() == "queued"

    heir = stack.add_worker()

    assert requests[0].result(timeout=PROMPTLY_S).worker == leaver.name
    assert requests[-1].result(timeout=PROMPTLY_S).worker == heir.name


def test_a_stopped_worker_does_not_wait_for_the_end_of_its_lease(stack: Stack, mlp: Mlp) -> None:
    """It says goodbye, so that its models are cold at once and not after the lease."""
    client = stack.client()
    client.infer(mlp.name, mlp.question())
    assert stack.workers[0].stop() == 0
    assert stack.residency() == {}
    assert stack.holders(mlp.name) == []


def test_a_stopped_gateway_lets_its_callers_have_their_answers(stack: Stack, slow: Slow) -> None:
    """A caller that waits when SIGTERM comes is answered before the process ends."""
    leaver = stack.add_gateway(WARMROUTE_HANDOVER_S="60")
    client = stack.client(leaver)
    client.infer(slow.name, slow.question(0.01))
    with ThreadPoolExecutor(1) as pool, slow.holding() as question:
        call = pool.submit(client.infer, slow.name, question)
        block_until(lambda: stack.residency()[stack.workers[0].name]["queue"] == 1)
        leaver.child.terminate()
        block_until(lambda: refuses_connections(leaver))
        assert not call.done()
    assert call.result()["done"] > 0
    assert leaver.child.wait(ENDED_S) == 0
