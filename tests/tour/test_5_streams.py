"""5. The stream door: whoever can reach Redis needs no HTTP.

A producer adds an entry to the cell's ingress stream: `model`, `body` (the V2 JSON of an HTTP
request) and, if it wants the answer, the stream to write it to in `reply_to`. A gateway takes the
entry over, and from then on it is a request like any other. With redis-cli:

    XADD {warmroute}:ingress * model tiny-mlp reply_to {warmroute}:answers:me body "$(cat in.json)"
    XREAD BLOCK 10000 STREAMS {warmroute}:answers:me 0
"""

from __future__ import annotations

import json

import numpy as np

from tests.helpers.models import Mlp
from tests.helpers.stack import Stack
from tests.helpers.wait import block_until


def test_a_request_comes_in_by_a_stream_and_its_answer_goes_out_by_another(
    stack: Stack, mlp: Mlp
) -> None:
    """The answer holds the same V2 document that HTTP would have given."""
    question = mlp.question()
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 16], "data": question["x"].tolist()}
    body = json.dumps({"id": "line-1", "inputs": [tensor]})

    answer = ask_by_stream(stack, {"model": mlp.name, "body": body})

    assert (answer["status"], answer["id"], answer["model"]) == ("succeeded", "line-1", mlp.name)
    assert answer["worker"] == stack.workers[0].name
    output = json.loads(answer["body"])["outputs"][0]
    assert mlp.right(question, np.array([output["data"]]))


def test_an_entry_that_is_no_request_is_answered_with_the_reason(stack: Stack) -> None:
    """It is also kept among the dead letters, for the operator; nothing is left in the door."""
    answer = ask_by_stream(stack, {"model": "nobody-knows-me", "body": "{}", "id": "line-2"})

    assert (answer["status"], answer["id"], answer["code"]) == ("failed", "line-2", "not_found")
    assert "nobody-knows-me" in answer["error"]
    assert stack.redis.xlen(stack.keys.ingress) == 0
    assert stack.redis.xrevrange(stack.keys.dead_letters, count=1)[0][1][b"id"] == b"line-2"


def ask_by_stream(stack: Stack, fields: dict[str, str]) -> dict[str, str]:
    """What is written to a fresh answer stream."""
    reply_to = f"{stack.keys.answers}tour"
    stack.redis.delete(reply_to)
    stack.redis.xadd(stack.keys.ingress, {**fields, "reply_to": reply_to})
    block_until(lambda: stack.redis.xlen(reply_to) == 1)
    _, answer = stack.redis.xrange(reply_to)[0]
    return {name.decode(): value.decode() for name, value in answer.items()}
