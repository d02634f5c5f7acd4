"""6. Eviction: more models than memory.

A worker has a budget in bytes. A load that needs room first evicts what is worth least: what is
used rarely, was used long ago, and is quick to load again. It takes no new requests for that model,
finishes those it has, and frees it. Its files stay in the disk cache, so that it comes back soon.
Callers notice nothing but a longer wait.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from deploy.samples.store import BuiltSample
from tests.helpers.models import Mlp
from tests.helpers.stack import Stack
from tests.helpers.wait import block_until
from warmroute import ServerError

SIZE = 3_000_000  # three fit into a budget of 10 MB, four do not


def test_models_that_do_not_fit_together_all_answer(
    stack: Stack, new_model: Callable[..., Mlp]
) -> None:
    """Two rounds over four models; the worker never reports more than its budget."""
    models, client = [new_model(SIZE) for _ in range(4)], stack.client()
    for seed, model in enumerate(models * 2):
        question = model.question(seed)
        assert model.right(question, client.infer(model.name, question)["y"])
        worker = stack.residency()[stack.workers[0].name]
        assert worker["used_bytes"] <= worker["budget_bytes"]


def test_what_is_worth_least_is_evicted_and_comes_back_when_asked_for(
    stack: Stack, new_model: Callable[..., Mlp]
) -> None:
    """Of three residents one was used once only, and so it goes first.

    A policy lifts the guard of the young: a model stays for as long as two of its loads took.
    """
    first, second, third, newcomer = models = [new_model(SIZE) for _ in range(4)]
    client = stack.client()
    for held in stack.residency()[stack.workers[0].name]["models"]:
        client.unload(held["name"])
    for model in models:
        client.set_policy(model.name, {"min_residency_s": 0})
    for model in [first] * 6 + [second] * 6 + [third]:
        client.infer(model.name, model.question())
    assert [] not in [stack.holders(model.name) for model in (first, second, third)]

    client.infer(newcomer.name, newcomer.question())

    block_until(lambda: stack.holders(third.name) == [])
    assert stack.holders(first.name) and stack.holders(second.name)
    question = third.question()
    reloaded = client.infer(third.name, question)
    assert reloaded.cold is True
    assert third.right(question, reloaded["y"])


def test_a_model_larger_than_any_budget_is_refused_and_evicts_nobody(
    stack: Stack, new_model: Callable[..., Mlp]
) -> None:
    """507 with both figures. A load that cannot fit is refused before room is made for it."""
    resident, giant, client = new_model(SIZE), new_model(12_000_000), stack.client()
    client.infer(resident.name, resident.question())

    with pytest.raises(ServerError, match=r"needs 12\d+ bytes, .* budget is 10000000") as refused:
        client.infer(giant.name, giant.question())

    assert refused.value.status == 507
    assert stack.holders(resident.name) == [stack.workers[0].name]
    assert stack.residency()[stack.workers[0].name]["used_bytes"] >= SIZE


@pytest.mark.slow
def test_a_crowd_over_too_many_models_is_answered_rightly(
    stack: Stack, new_model: Callable[..., Mlp], real_models: list[BuiltSample]
) -> None:
    """Small and real models, loads and evictions beside serving: nobody gets another's answer."""
    models, client = [new_model(SIZE) for _ in range(3)], stack.client()

    def ask(seed: int) -> bool:
        if seed % 2:
            real = real_models[seed % 3]
            return real.right(client.infer(real.name, real.sample_request()).outputs)
        model = models[seed % 3]
        question = model.question(seed)
        return model.right(question, client.infer(model.name, question)["y"])

    with ThreadPoolExecutor(10) as crowd:
        assert all(crowd.map(ask, range(120)))
    worker = stack.residency()[stack.workers[0].name]
    assert worker["used_bytes"] <= worker["budget_bytes"]
