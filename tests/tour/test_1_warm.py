"""1. A warm request: the model is on a worker, and the gateway sends the request there.

A gateway speaks the Open Inference Protocol (V2) over HTTP: named tensors in, named tensors out.
It puts each request on the work stream of a worker that holds the model, and that worker answers.
The headers of the answer say which worker it was, and whether the request had to wait for a load.
"""

from __future__ import annotations

import json

import numpy as np

from tests.helpers.models import Mlp
from tests.helpers.stack import Stack


def test_a_warm_request_is_answered_by_the_worker_that_holds_the_model(
    stack: Stack, mlp: Mlp
) -> None:
    """The first request brings the model in; the second finds it there."""
    client, question = stack.client(), mlp.question()
    first = client.infer(mlp.name, question)
    second = client.infer(mlp.name, question)

    assert mlp.right(question, second["y"])
    assert second.cold is False
    assert second.worker == first.worker == stack.workers[0].name


def test_a_request_can_be_written_by_hand_as_json(stack: Stack, mlp: Mlp) -> None:
    """What curl would send. `id` is the caller's own and comes back."""
    question = mlp.question(rows=2)
    tensor = {"name": "x", "datatype": "FP32", "shape": [2, 16], "data": question["x"].tolist()}
    body = json.dumps({"id": "my-7", "inputs": [tensor]}).encode()

    answer = stack.http("POST", f"/v2/models/{mlp.name}/infer", body)

    assert answer.status == 200
    said = answer.json()
    assert (said["model_name"], said["model_version"], said["id"]) == (mlp.name, "1", "my-7")
    output = said["outputs"][0]
    assert (output["name"], output["datatype"], output["shape"]) == ("y", "FP32", [2, 16])
    assert mlp.right(question, np.array(output["data"]).reshape(2, 16))


def test_many_requests_at_once_each_get_their_own_answer(stack: Stack, mlp: Mlp) -> None:
    """A worker joins what waits for one model into one call, and takes the results apart again."""
    client = stack.client()
    questions = [mlp.question(seed, rows=1 + seed % 3) for seed in range(64)]
    pending = [client.submit(mlp.name, question) for question in questions]

    answers = [each.result(timeout=30)["y"] for each in pending]

    assert all(mlp.right(q, said) for q, said in zip(questions, answers, strict=True))
