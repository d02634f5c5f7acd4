"""Asking twice under one key, through real gateways and a real worker."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import numpy as np

from tests.helpers.models import Mlp, Slow
from tests.helpers.stack import Stack
from tests.helpers.wait import block_until
from tests.system.setup import ONE_ROW, post
from warmroute.encoding import encode

KEY = "Idempotency-Key"
REPLAYED = "idempotency-replayed"


def test_a_hundred_callers_with_one_key_are_one_request(stack: Stack, slow: Slow) -> None:
    """At two gateways at once: a hundred equal answers, one id, and it ran once."""
    stack.scale(gateways=2)
    clients = [stack.client(gateway) for gateway in stack.gateways]
    stack.client().infer(slow.name, slow.question(0.001))  # warm
    key, question = f"hundred-{slow.name}", slow.question(0.3)
    with ThreadPoolExecutor(100) as pool:
        asked = [
            pool.submit(clients[n % 2].infer, slow.name, question, idempotency_key=key)
            for n in range(100)
        ]
        results = [call.result() for call in asked]
    assert len({result.request_id for result in results}) == 1
    first = next(iter(results[0].values()))
    assert all(np.array_equal(next(iter(result.values())), first) for result in results)


def test_the_answer_says_whether_it_is_a_replay(stack: Stack, mlp: Mlp) -> None:
    """JSON or binary, waited for or not: the same question is the same request."""
    path, headers = f"/v2/models/{mlp.name}/infer", {KEY: f"again-{mlp.name}"}
    first = stack.http("POST", path, ONE_ROW, headers)
    again = stack.http("POST", path, ONE_ROW.replace(b", ", b" ,"), headers)
    later = stack.http("POST", path, ONE_ROW, {**headers, "Prefer": "respond-async"})
    binary = stack.client().infer(
        mlp.name, {"x": np.full((1, 16), 0.5, np.float32)}, idempotency_key=headers[KEY]
    )
    assert (first.status, again.status, later.status) == (200, 200, 202)
    assert REPLAYED not in first.headers
    assert again.headers[REPLAYED] == later.headers[REPLAYED] == "true"
    assert first.body == again.body
    request_id = first.headers["warmroute-request-id"]
    assert later.headers["location"] == f"/v2/requests/{request_id}"
    assert later.json()["status"] == "succeeded"
    assert binary.request_id == request_id


def test_another_question_under_the_key_is_422(stack: Stack, mlp: Mlp) -> None:
    """Another input, another output wanted, or the same model by its version."""
    path, headers = f"/v2/models/{mlp.name}/infer", {KEY: f"other-{mlp.name}"}
    assert stack.http("POST", path, ONE_ROW, headers).status == 200
    asked = [
        (path, ONE_ROW.replace(b"0.5", b"0.25")),
        (path, ONE_ROW[:-1] + b', "outputs": [{"name": "y"}]}'),
        (f"/v2/models/{mlp.name}/versions/1/infer", ONE_ROW),
    ]
    for other, body in asked:
        answer = stack.http("POST", other, body, headers)
        assert (answer.status, answer.headers["warmroute-error"]) == (422, "key_reused")


def test_who_hangs_up_finds_the_answer_when_it_asks_again(stack: Stack, slow: Slow) -> None:
    """What has a key goes on without its caller."""
    stack.client().infer(slow.name, slow.question(0.001))  # warm
    path, headers = f"/v2/models/{slow.name}/infer", {KEY: f"hung-up-{slow.name}"}
    gateway = urlsplit(stack.gateways[0].url)
    with (
        slow.holding() as question,
        socket.create_connection((gateway.hostname, gateway.port)) as connection,
    ):
        body, length = encode(question)
        sent = {**headers, "Inference-Header-Content-Length": str(length)}
        connection.sendall(post(path, body, sent))
        block_until(lambda: stack.waiting(stack.workers[0].name))

    again = stack.http("POST", path, body, sent)

    assert (again.status, again.headers[REPLAYED]) == (200, "true")


def test_with_a_key_a_stream_entry_and_a_post_are_the_same_request(stack: Stack, mlp: Mlp) -> None:
    """The entry's `id` is its key; the answer comes on the stream that it names."""
    key = f"stream-{mlp.name}"
    first = stack.http("POST", f"/v2/models/{mlp.name}/infer", ONE_ROW, {KEY: key})
    reply_to = f"{stack.keys.answers}{key}"
    entry = {"model": mlp.name, "body": ONE_ROW, "id": key, "reply_to": reply_to}
    for _ in range(2):
        stack.redis.xadd(stack.keys.ingress, entry)
    block_until(lambda: stack.redis.xlen(reply_to) == 2)
    answers = [fields for _, fields in stack.redis.xrange(reply_to)]
    stack.redis.delete(reply_to)
    request_id = first.headers["warmroute-request-id"].encode()
    assert {answer[b"request"] for answer in answers} == {request_id}


def test_who_joins_with_less_patience_is_told_where_to_ask(stack: Stack, slow: Slow) -> None:
    """The request goes on beyond its own deadline: that is no 504."""
    key = f"patience-{slow.name}"
    with slow.holding() as question:
        pending = stack.client().submit(slow.name, question, idempotency_key=key)
        body, length = encode(question)
        headers = {
            "Inference-Header-Content-Length": str(length), KEY: key,
            "Prefer": "respond-async, wait=20", "Warmroute-Timeout": "0.5",
        }  # fmt: skip
        joined = stack.http("POST", f"/v2/models/{slow.name}/infer", body, headers)
    assert (joined.status, joined.headers["location"]) == (202, f"/v2/requests/{pending.id}")
    assert pending.result(timeout=30).request_id == pending.id
