"""9. More workers: start another process with the same `REDIS_URL`, and it takes part.

There is nothing to configure: a worker registers itself, takes load orders from the same cold queue
as the others, and is sent the requests for what it has loaded. One that is told to stop (SIGTERM)
finishes what it runs and hands the rest back.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.helpers.models import Mlp
from tests.helpers.stack import Stack
from tests.helpers.wait import block_until


def test_a_worker_that_is_added_gets_traffic(stack: Stack, new_model: Callable[..., Mlp]) -> None:
    """Both the old and the new one answer some of the requests for cold models."""
    client = stack.client()
    newcomer = stack.add_worker()
    answered: dict[str | None, Mlp] = {}

    def both_have_answered() -> bool:
        model = new_model()
        answered[client.infer(model.name, model.question()).worker] = model
        return answered.keys() == {worker.name for worker in stack.workers}

    block_until(both_have_answered)
    own = answered[newcomer.name]
    assert client.infer(own.name, own.question()).worker == newcomer.name


def test_a_worker_that_is_stopped_leaves_no_hole(
    stack: Stack, new_model: Callable[..., Mlp]
) -> None:
    """Its models are cold from then on, and the next request has them loaded elsewhere."""
    stack.scale(workers=2)
    client, model = stack.client(), new_model()
    leaver = stack.worker(client.infer(model.name, model.question()).worker)

    assert leaver.stop() == 0

    block_until(lambda: leaver.name not in stack.residency())
    question = model.question()
    answer = client.infer(model.name, question)
    assert model.right(question, answer["y"])
    assert answer.worker == stack.workers[0].name
