"""F59: the object store is gone while traffic goes on. What is warm is served, and stays so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.links import Link
from tests.helpers.models import Mlp, publish_mlp
from tests.helpers.stack import Process, Stack
from tests.helpers.wait import block_until
from warmroute import ServerError

PROMPTLY_S = 40
ASKED = 200

pytestmark = pytest.mark.slow


@pytest.fixture
def worker(cell: Stack, model: Mlp, store_link: Link) -> Iterator[Process]:
    """The only one, with a warm model. Afterwards the store is there again."""
    cell.scale(gateways=1, workers=1)
    cell.client().infer(model.name, model.question())
    yield cell.workers[0]
    store_link.mend()


def test_warm_traffic_goes_on_while_the_store_is_gone(
    cell: Stack, worker: Process, model: Mlp, store_link: Link
) -> None:
    """Without one refusal, although the gateway asks for new versions in vain. What was not loaded
    yet is 503, and answered when the store is back."""
    client, cold = cell.client(), publish_mlp(cell.repository, cell.folder)
    store_link.go_down()
    refused = store_link.refused
    for seed in range(ASKED):
        question = model.question(seed)
        assert model.right(question, client.infer(model.name, question)["y"])
    with pytest.raises(ServerError) as caught:
        client.infer(cold.name, cold.question())
    assert caught.value.status == 503
    block_until(lambda: store_link.refused > refused)

    store_link.mend()

    assert cold.right(cold.question(), client.infer(cold.name, cold.question())["y"])


def test_a_device_process_that_dies_meanwhile_brings_its_models_back_from_the_disk(
    cell: Stack, worker: Process, model: Mlp, store_link: Link
) -> None:
    """Its successor starts without the store, and loads what is in the cache."""
    store_link.go_down()
    before = cell.kill_device(worker)
    block_until(lambda: cell.device_pid(worker) not in (0, before), PROMPTLY_S)
    question = model.question(7)
    answer = cell.client().infer(model.name, question, timeout=PROMPTLY_S)
    assert model.right(question, answer["y"]) and answer.worker == worker.name
