"""4. Submit and poll: hand a request over, hang up, and ask for the outcome later.

With `Prefer: respond-async` the gateway answers 202 as soon as the request is in Redis. From then
on it belongs to the cell: it will be answered even if this gateway, or the worker that has it, is
killed. `Location` says where to ask; `?wait=` holds that answer back until there is an outcome.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.helpers.models import Mlp, Slow
from tests.helpers.stack import Stack
from tests.helpers.wait import block_until
from warmroute import RequestFailed


def test_a_submitted_request_is_accepted_at_once_and_its_outcome_fetched_later(
    stack: Stack, mlp: Mlp
) -> None:
    """202 and `Location`, then one long poll."""
    question = mlp.question()
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 16], "data": question["x"].tolist()}
    body = json.dumps({"inputs": [tensor]}).encode()
    path = f"/v2/models/{mlp.name}/infer"

    accepted = stack.http("POST", path, body, {"Prefer": "respond-async"})
    assert accepted.status == 202
    outcome = stack.http("GET", accepted.headers["location"] + "?wait=30")

    said = outcome.json()
    assert said["status"] == "succeeded"
    assert mlp.right(question, np.array([said["response"]["outputs"][0]["data"]]))


def test_the_client_does_the_same_in_two_calls(stack: Stack, mlp: Mlp) -> None:
    """`submit` gives a handle; `result` waits. Asking again gives the same outcome again."""
    question = mlp.question()
    pending = stack.client().submit(mlp.name, question)

    first = pending.result(timeout=30)
    again = stack.client().pending(pending.id).result(timeout=30)

    assert mlp.right(question, first["y"])
    assert np.array_equal(again["y"], first["y"])


def test_a_request_that_still_waits_can_be_taken_back(stack: Stack, slow: Slow) -> None:
    """`DELETE` ends it as `cancelled`, for good. Those around it are not disturbed."""
    client = stack.client()
    with slow.holding() as question:
        running = client.submit(slow.name, question)
        waiting = [client.submit(slow.name, slow.question(0.1)) for _ in range(3)]
        block_until(lambda: running.status() == "running")

        taken_back = stack.http("DELETE", f"/v2/requests/{waiting[-1].id}")

    assert taken_back.status == 204
    assert waiting[-1].status() == "cancelled"
    with pytest.raises(RequestFailed, match="cancelled the request"):
        waiting[-1].result(timeout=5)
    for request in (running, *waiting[:-1]):
        assert request.result(timeout=30)["done"] > 0
    assert stack.http("DELETE", f"/v2/requests/{running.id}").status == 409  # it has ended
