"""A worker is a pair of processes: what dies, stops or goes mad in it costs nobody an answer."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from deploy.local.redis_server import start_redis
from tests.helpers.models import Mlp, Slow, publish_mlp
from tests.helpers.pair import Process, loads, runs, send
from tests.helpers.stack import Stack
from tests.helpers.wait import block_until
from tests.system.setup import open_stack

PROMPTLY_S = 30
RESTARTED_S = 60
HOT_KNOWN_S = 1.5  # the parent hears once a second what is to be loaded again


def epoch(stack: Stack, worker: Process) -> int:
    """Of its registration, 0 if it has none."""
    return int(stack.redis.hget(stack.keys.worker(worker.name), "epoch") or 0)


def parent(stack: Stack, worker: Process) -> bytes | None:
    """The name of its parent process, which failures to load are kept for."""
    return stack.redis.hget(stack.keys.worker(worker.name), "parent")


def attempts(stack: Stack) -> list[int]:
    """Starts so far of each request on a work stream, oldest first."""
    rows = [
        row for worker in stack.workers for row in stack.redis.xrange(stack.keys.work(worker.name))
    ]
    return [int(fields[b"attempts"]) for _, fields in sorted(rows)]


def use(stack: Stack, *models: Mlp) -> None:
    """Ask each, and the last one until the parent of their worker knows in which order."""
    for model in models:
        stack.client().infer(model.name, model.question())
    begun = known = time.monotonic() + HOT_KNOWN_S
    while begun <= known:  # the answer to one that is asked later shows that the time was enough
        begun = time.monotonic()
        stack.client().infer(models[-1].name, models[-1].question())


@pytest.fixture
def worker(stack: Stack) -> Iterator[Process]:
    """The only worker of the cell. Afterwards there is no other process under its name."""
    yield stack.workers[0]
    block_until(lambda: {each.name for each in stack.workers} <= set(stack.residency()), 30)


def test_what_ran_when_the_device_process_died_runs_again_and_is_answered(
    stack: Stack, worker: Process, slow: Slow
) -> None:
    """It alone has lost an attempt, and goes behind what waited and has lost none."""
    client = stack.client()
    client.infer(slow.name, slow.question(0.01))
    with slow.holding() as question:
        requests = [client.submit(slow.name, question) for _ in range(3)]
        block_until(lambda: requests[0].status() == "running")

        stack.kill_device(worker)

        block_until(lambda: attempts(stack) == [0, 0, 1], RESTARTED_S)
    answers = [request.result(timeout=PROMPTLY_S) for request in requests]
    assert all(answer["done"] > 0 for answer in answers)


def test_the_restarted_process_is_the_same_worker_and_holds_what_was_hot(
    stack: Stack, worker: Process
) -> None:
    """Under a new epoch. What was used last is loaded first, and answers come from it."""
    models = [publish_mlp(stack.repository, stack.folder) for _ in range(3)]
    use(stack, *models)
    before, logged, begun_by = epoch(stack, worker), len(worker.log), parent(stack, worker)

    stack.kill_device(worker, signal.SIGSEGV)

    block_until(lambda: epoch(stack, worker) > before, RESTARTED_S)
    assert parent(stack, worker) == begun_by
    block_until(
        lambda: all(stack.holders(model.name) == [worker.name] for model in models), RESTARTED_S
    )
    log = worker.log[logged:]
    assert "its device process was killed by SIGSEGV" in log
    loaded = [log.index(f"loaded {model.name}:") for model in models]
    assert loaded == sorted(loaded, reverse=True)
    answer = stack.client().infer(models[0].name, models[0].question())
    assert answer.worker == worker.name and not answer.cold


def test_when_its_parent_is_killed_the_device_process_drains_and_leaves(
    stack: Stack, worker: Process, slow: Slow
) -> None:
    """What runs is answered by it; it does not stay behind as an orphan."""
    client = stack.client()
    client.infer(slow.name, slow.question(0.01))
    with slow.holding() as question:
        request = client.submit(slow.name, question)
        block_until(lambda: request.status() == "running")
        device = stack.device_pid(worker)

        send(worker.child.pid, signal.SIGKILL)

        block_until(lambda: not worker.running)
    assert request.result(timeout=PROMPTLY_S).worker == worker.name
    block_until(lambda: not runs(device))
    assert stack.residency() == {}


def test_a_device_process_that_is_told_to_stop_drains_and_its_parent_ends_with_it(
    stack: Stack, worker: Process
) -> None:
    """That is no crash."""
    stack.kill_device(worker, signal.SIGTERM)
    assert worker.child.wait(PROMPTLY_S) == 0
    assert stack.residency() == {}


def test_of_two_processes_under_one_name_the_older_ends(
    stack: Stack, worker: Process, mlp: Mlp
) -> None:
    """With status 3 and one message; it does not come back. The other one serves."""
    begun_by = parent(stack, worker)
    usurper = stack.launch("worker", f"{worker.name}-again", {"WARMROUTE_WORKER_ID": worker.name})
    try:
        assert worker.child.wait(PROMPTLY_S) == 3, worker.child.log_tail()
        assert parent(stack, worker) not in (begun_by, b"", None)
        assert worker.log.count("another process has taken the id") == 1
        assert worker.log.splitlines()[-1].startswith("warmroute worker: another process")
        assert "Traceback" not in worker.log
        answer = stack.client().infer(mlp.name, mlp.question())
        assert answer.worker == worker.name and usurper.returncode is None
    finally:
        assert usurper.stop(30) == 0


def test_a_second_signal_ends_a_draining_worker_and_nothing_is_lost(
    stack: Stack, worker: Process, slow: Slow
) -> None:
    """It ends with status 1 at once; what ran runs again elsewhere."""
    client = stack.client()
    client.infer(slow.name, slow.question(0.01))
    with slow.holding() as question:
        request = client.submit(slow.name, question)
        block_until(lambda: request.status() == "running")
        device = stack.device_pid(worker)
        worker.child.send_signal(signal.SIGTERM)
        block_until(lambda: "drains" in worker.log)

        worker.child.send_signal(signal.SIGTERM)

        assert worker.child.wait(PROMPTLY_S) == 1
    assert not runs(device)
    assert stack.residency() == {} and request.status() == "queued"
    heir = stack.add_worker()
    assert request.result(timeout=PROMPTLY_S).worker == heir.name


def test_when_the_grace_time_is_over_what_runs_is_handed_back(stack: Stack, slow: Slow) -> None:
    """The worker leaves without it, and without waiting for the call that never ends."""
    stack.scale(gateways=1, workers=0)
    hasty = stack.add_worker(WARMROUTE_DRAIN_S="0.3")
    client = stack.client()
    client.infer(slow.name, slow.question(0.01))
    with slow.holding() as question:
        request = client.submit(slow.name, question)
        block_until(lambda: request.status() == "running")

        assert hasty.stop() == 0

    assert "the grace time is over" in hasty.log and request.status() == "queued"
    heir = stack.add_worker()
    assert request.result(timeout=PROMPTLY_S).worker == heir.name


def test_a_worker_that_was_paused_beyond_its_lease_comes_back_with_what_it_holds(
    stack: Stack, worker: Process, mlp: Mlp
) -> None:
    """Both processes stood still: it is fenced, registers anew, and loads nothing again."""
    use(stack, mlp)
    before, loaded = epoch(stack, worker), loads(worker, mlp.name)
    device = stack.device_pid(worker)

    stack.pause(worker)
    block_until(lambda: epoch(stack, worker) == 0)
    stack.resume(worker)

    block_until(lambda: epoch(stack, worker) > before)
    block_until(lambda: stack.holders(mlp.name) == [worker.name])
    assert stack.client().infer(mlp.name, mlp.question()).worker == worker.name
    assert (stack.device_pid(worker), loads(worker, mlp.name)) == (device, loaded)


def test_a_device_process_that_was_stopped_alone_is_not_killed_for_it(
    stack: Stack, worker: Process, mlp: Mlp
) -> None:
    """Its parent sees that it was stopped; as soon as it runs again it serves again."""
    use(stack, mlp)
    before = epoch(stack, worker)
    device = stack.kill_device(worker, signal.SIGSTOP)

    block_until(lambda: epoch(stack, worker) == 0)
    send(device, signal.SIGCONT)

    block_until(lambda: epoch(stack, worker) > before)
    assert stack.client().infer(mlp.name, mlp.question()).worker == worker.name
    assert stack.device_pid(worker) == device


def test_a_device_process_that_dies_while_redis_is_away_comes_back_with_it(
    tmp_path: Path,
) -> None:
    """At the first start a missing Redis is a wrong setting; later it is waited for."""
    with open_stack(tmp_path) as stack:
        stack.scale(gateways=1, workers=1)
        worker, before = stack.workers[0], stack.device_pid(stack.workers[0])
        stack.redis_server.stop()

        stack.kill_device(worker)
        block_until(lambda: stack.device_pid(worker) not in (0, before), RESTARTED_S)
        port = urlsplit(stack.redis_server.url).port
        stack.redis_server = start_redis(tmp_path / "redis", port=port)

        block_until(
            lambda: stack.redis.hget(stack.keys.worker(worker.name), "state") == b"ready",
            RESTARTED_S,
        )
        assert stack.device_pid(worker) != before
        assert worker.running and "Traceback" not in worker.log
