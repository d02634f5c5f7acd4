"""2. A cold request: no worker holds the model, so the request waits while one of them loads it.

The gateway parks the request in Redis and, with the same script call, writes one load order into
the cold queue. A worker takes the order, fetches the model's files from the repository (S3 here),
loads it, announces that it holds it, and takes over what is parked. The caller just waits longer.
"""

from __future__ import annotations

import pytest

from deploy.samples.store import BuiltSample
from tests.helpers.models import Mlp
from tests.helpers.stack import Stack


def test_a_cold_request_has_its_model_loaded_and_is_answered(stack: Stack, mlp: Mlp) -> None:
    """Nobody needs to load a model by hand."""
    assert stack.holders(mlp.name) == []
    question = mlp.question()

    answer = stack.client().infer(mlp.name, question)

    assert answer.cold is True
    assert mlp.right(question, answer["y"])
    assert stack.holders(mlp.name) == [answer.worker]


def test_the_residency_map_says_who_holds_what(stack: Stack, mlp: Mlp) -> None:
    """`GET /v2/residency`: each worker with its budget, and each model with its tier and bytes."""
    stack.client().infer(mlp.name, mlp.question())

    worker = stack.residency()[stack.workers[0].name]

    held = next(model for model in worker["models"] if model["name"] == mlp.name)
    assert (held["version"], held["tier"]) == ("1", "device")
    assert held["bytes"] >= mlp.bytes
    assert (worker["state"], worker["device"]) == ("ready", "cpu")


def test_a_cold_model_is_ready_because_it_will_be_loaded_on_demand(stack: Stack, mlp: Mlp) -> None:
    """`ready` says that requests are welcome, `warm` that some worker holds the model."""
    path = f"/v2/models/{mlp.name}/ready"
    cold = {"name": mlp.name, "version": "1", "ready": True, "warm": False}
    assert stack.http("GET", path).json() == cold

    stack.client().infer(mlp.name, mlp.question())

    assert stack.http("GET", path).json() == {**cold, "warm": True}


@pytest.mark.slow
def test_real_models_answer_cold_and_warm(stack: Stack, real_models: list[BuiltSample]) -> None:
    """Three formats behind one door; the answer is one that a person can check ("440 Hz -> A4")."""
    client = stack.client()
    for model in real_models:
        request = model.sample_request()
        cold = client.infer(model.name, request)
        warm = client.infer(model.name, request)
        assert (cold.cold, warm.cold) == (True, False)
        assert model.right(cold.outputs), model.say(cold.outputs)
        assert model.right(warm.outputs), model.say(warm.outputs)
