"""A gateway that has its hands full says so before it reads anything more."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.helpers.http import exchange
from tests.helpers.models import Mlp, Slow
from tests.helpers.stack import Stack
from tests.helpers.wait import block_until
from tests.system.setup import post


def test_over_its_limit_of_requests_a_gateway_refuses_unread(
    stack: Stack, slow: Slow, mlp: Mlp
) -> None:
    """429 with when to come back, although no byte of the body was sent; then it takes again."""
    stack.client().infer(slow.name, slow.question(0.001))  # warm
    small = stack.add_gateway(WARMROUTE_MAX_WAITING="2")
    unread = post(f"/v2/models/{mlp.name}/infer", b"x" * 1000, sent=b"")
    client = stack.client(small)
    with ThreadPoolExecutor(2) as pool, slow.holding() as question:
        running = [pool.submit(client.infer, slow.name, question) for _ in range(2)]
        block_until(lambda: len(stack.waiting(stack.workers[0].name)) == 2)
        refusal = exchange(small.url, unread)
        assert refusal.status == 429
        assert int(refusal.headers["retry-after"]) >= 1
        assert "handles 2 requests, its limit" in refusal.json()["error"]
    for call in running:
        call.result()
    question = mlp.question()
    assert mlp.right(question, client.infer(mlp.name, question)["y"])


def test_over_its_limit_of_bytes_a_gateway_refuses_unread(
    stack: Stack, slow: Slow, mlp: Mlp
) -> None:
    """By what the head declares; a body of unknown length counts as the largest."""
    stack.client().infer(slow.name, slow.question(0.001))  # warm
    small = stack.add_gateway(WARMROUTE_MAX_BODIES_BYTES="100000")
    path = f"/v2/models/{mlp.name}/infer"
    client = stack.client(small)
    with ThreadPoolExecutor(1) as pool, slow.holding() as question:
        running = pool.submit(client.infer, slow.name, question)
        block_until(lambda: len(stack.waiting(stack.workers[0].name)) == 1)
        for unread in (
            post(path, b"x" * 100_000, sent=b""),
            post(path, headers={"Transfer-Encoding": "chunked"}, sent=b""),
        ):
            refusal = exchange(small.url, unread)
            assert refusal.status == 429
            assert "take 100000 bytes, its limit" in refusal.json()["error"]
    running.result()
    question = mlp.question()
    assert mlp.right(question, client.infer(mlp.name, question)["y"])
