"""Requests that kill the process that runs them: F17 and F18.

Two workers, so that a request that killed one finds another; the processes really die.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from shared.envelope import unpack_envelope
from tests.helpers.fragile import MAGIC, poison, publish_fragile
from tests.helpers.http import Answer
from tests.helpers.models import Mlp
from tests.helpers.pair import send
from tests.helpers.stack import Stack
from tests.helpers.wait import block_until
from tests.system.setup import ONE_ROW
from warmroute import ClientError
from warmroute.pending import Pending

MATES = 3
MAX_ATTEMPTS = 3
CRASHES, PER_WORKER = 5, 3  # that open the breaker (shared/lua/lib/crashes.lua)
PROMPTLY_S = 60

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def fragile(cell: Stack) -> Mlp:
    """A model that kills its process if it is asked to."""
    return publish_fragile(cell.repository, cell.folder, "poisoned", 8, steps=2000)


@pytest.fixture(scope="module", autouse=True)
def _two_workers(cell: Stack) -> Iterator[None]:
    """Their leases do not end while they stand still."""
    cell.scale(gateways=1, workers=0)
    for _ in range(2):
        cell.add_worker(WARMROUTE_LEASE_S="20")
    yield
    cell.scale(gateways=1, workers=0)


def parked_attempts(stack: Stack) -> list[int]:
    """Starts of each request that waits for its model."""
    streams = stack.redis.scan_iter(f"{stack.keys.prefix}:parked:*")
    return [int(row[b"attempts"]) for key in streams for _, row in stack.redis.xrange(key)]


def crashes(stack: Stack) -> int:
    """Device processes that died of it, as their parents tell it: one line for each that is
    started again. (The next one repeats the cause when it says why it is on probation.)"""
    lines = [line for worker in stack.workers for line in worker.log.splitlines()]
    return sum("killed by SIGSEGV" in line and "started again" in line for line in lines)


def quarantine(stack: Stack, model: Mlp) -> dict[str, Any]:
    """What the API says of its crashes: `open`, `crashes`, `workers` and the rest; or nothing."""
    found = stack.http("GET", f"/v2/models/{model.name}/residency").json()
    return dict(found["quarantine"] or {"open": False})


@contextmanager
def others_stand_still(stack: Stack, model: Mlp) -> Iterator[None]:
    """The workers that do not hold a model; what they are told they hear afterwards."""
    others = [worker for worker in stack.workers if worker.name not in stack.holders(model.name)]
    for worker in others:
        stack.pause(worker)
    try:
        yield
    finally:
        for worker in others:
            stack.resume(worker)


def send_together(stack: Stack, model: Mlp) -> tuple[Pending, list[tuple[Pending, dict]]]:
    """The poison and its mates, in one batch: their worker stands still while they are placed.

    (The read that it waits in takes the first request alone: that is no mate.)
    """
    client = stack.client()
    (holder,) = stack.holders(model.name)
    device = stack.kill_device(stack.worker(holder), signal.SIGSTOP)
    questions = [model.question(seed) for seed in range(MATES)]
    client.submit(model.name, model.question(MATES))
    bad = client.submit(model.name, poison())
    mates = [(client.submit(model.name, question), question) for question in questions]
    send(device, signal.SIGCONT)
    return bad, mates


def test_a_poison_request_dies_alone_and_its_batch_mates_are_answered(
    cell: Stack, fragile: Mlp
) -> None:
    """F17. Once it takes its batch with it; then it runs alone, and is a dead letter."""
    cell.client().infer(fragile.name, fragile.question())
    before = crashes(cell)
    with others_stand_still(cell, fragile):  # so that all wait until it is seen
        bad, mates = send_together(cell, fragile)
        block_until(lambda: parked_attempts(cell) == [1] * (1 + MATES), PROMPTLY_S)

    block_until(lambda: bad.status() == "failed", PROMPTLY_S)
    for pending, question in mates:
        answer = pending.result(timeout=PROMPTLY_S)
        assert fragile.right(question, answer["y"])

    block_until(lambda: crashes(cell) - before >= MAX_ATTEMPTS)
    assert crashes(cell) - before == MAX_ATTEMPTS
    rows = cell.redis.xrange(cell.keys.dead_letters)
    letters = [{name.decode(): value for name, value in row[1].items()} for row in rows]
    (letter,) = [each for each in letters if each["id"].decode() == bad.id]
    assert int(letter["attempts"]) == MAX_ATTEMPTS
    assert letter["worker"].decode() in {worker.name for worker in cell.workers}
    assert letter["cause"].startswith(b"dead_lettered") and b"SIGSEGV" in letter["cause"]
    assert len(letter["fingerprint"]) == 40
    (sent,) = unpack_envelope(letter["body"]).inputs
    assert np.frombuffer(sent.data, "<f4")[0] == MAGIC
    with pytest.raises(ClientError, match="SIGSEGV"):
        bad.result(timeout=1)
    block_until(lambda: cell.failures(bad.id), PROMPTLY_S)
    (line,) = cell.failures(bad.id)
    assert "code=dead_lettered" in line and "SIGSEGV" in line
    assert not any(cell.failures(pending.id) for pending, _ in mates)


def test_a_model_that_crashes_again_and_again_is_quarantined_and_comes_back(
    cell: Stack, model: Mlp
) -> None:
    """F18. 503 with the reason for this version only; a request that succeeds ends it.

    Each of the three requests has ended after three crashes, so that one at least is left.
    """
    client, before = cell.client(), crashes(cell)
    fragile = publish_fragile(cell.repository, cell.folder, "crashing", 8)
    sent = [client.submit(fragile.name, poison(), timeout=PROMPTLY_S) for _ in range(3)]
    block_until(lambda: quarantine(cell, fragile)["open"], PROMPTLY_S)
    said = quarantine(cell, fragile)
    block_until(lambda: crashes(cell) - before >= said["crashes"])
    assert said["crashes"] == crashes(cell) - before
    counted = sum(min(times, PER_WORKER) for times in said["workers"].values())
    assert counted == CRASHES, f"no sooner and no later: {said}"

    answer = _ask(cell, fragile)
    assert answer.status == 503 and answer.headers["warmroute-error"] == "quarantined"
    assert f"crashed workers {said['crashes']} times" in answer.json()["error"]
    assert 1 <= int(answer.headers["retry-after"]) <= 20
    question = model.question()
    assert model.right(question, client.infer(model.name, question)["y"])
    waiting = [pending for pending in sent if pending.status() == "queued"]
    assert waiting and all(pending.cancel() for pending in waiting)

    answers: list[Answer] = []
    block_until(
        lambda: answers.append(_ask(cell, fragile)) or answers[-1].status != 503, PROMPTLY_S
    )

    assert answers[-1].status == 200, "the request that was let through"
    assert crashes(cell) - before == said["crashes"]
    assert not list(cell.redis.scan_iter(f"{cell.keys.prefix}:breaker:{fragile.name}:*"))


def _ask(stack: Stack, model: Mlp) -> Answer:
    path, patience = f"/v2/models/{model.name}/infer", {"Warmroute-Timeout": "20"}
    return stack.http("POST", path, ONE_ROW, patience)
