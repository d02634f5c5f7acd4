"""F52: nothing gets through between a worker and Redis, for longer than its lease."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.links import Link, Links
from tests.helpers.models import Mlp, Slow
from tests.helpers.pair import loads
from tests.helpers.stack import Process, Stack
from tests.helpers.wait import block_until
from warmroute.pending import Pending

PROMPTLY_S = 40
TRIES = 10

pytestmark = pytest.mark.slow


@pytest.fixture
def link(cell: Stack, links: Links) -> Link:
    """The worker's way to Redis."""
    return links.to(cell.redis_server.url)


@pytest.fixture
def worker(cell: Stack, link: Link) -> Iterator[Process]:
    """The only one."""
    cell.scale(gateways=1, workers=0)
    worker = cell.add_worker(REDIS_URL=link.url)
    yield worker
    link.mend()
    assert worker.stop() == 0


def cut_off_while_it_runs(cell: Stack, link: Link, slow: Slow) -> Pending:
    """A request whose worker was no longer heard when it was done: it waits again. On a busy
    machine one may have ended before the link was dark."""
    for _ in range(TRIES):
        running = cell.client().submit(slow.name, slow.question(2.0), timeout=PROMPTLY_S)
        block_until(lambda asked=running: asked.status() != "queued")
        link.go_dark()
        block_until(lambda asked=running: asked.status() in ("queued", "succeeded"))
        if running.status() == "queued":
            return running
        link.mend()
    raise AssertionError("each request ended before its worker was cut off")


def test_a_worker_that_nobody_hears_is_reaped_and_comes_back_with_its_models(
    cell: Stack, worker: Process, link: Link, model: Mlp, slow: Slow
) -> None:
    """What it ran meanwhile commits nothing under its old epoch; its models are not loaded again,
    and what was accepted in its absence is answered."""
    client, record = cell.client(), cell.keys.worker(worker.name)
    client.infer(model.name, model.question())
    client.infer(slow.name, slow.question(0.01))
    device, before = cell.device_pid(worker), cell.redis.hget(record, "epoch")
    running = cut_off_while_it_runs(cell, link, slow)

    assert cell.residency() == {}
    waiting = client.submit(model.name, model.question(1), timeout=PROMPTLY_S)
    assert waiting.status() == "queued"
    link.mend()

    assert model.right(model.question(1), waiting.result(timeout=PROMPTLY_S)["y"])
    assert running.result(timeout=PROMPTLY_S)["done"] > 0
    assert link.lost > 0 and cell.redis.hget(record, "epoch") != before
    assert cell.device_pid(worker) == device
    assert (loads(worker, model.name), loads(worker, slow.name)) == (1, 1)
