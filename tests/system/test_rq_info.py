"""RQ's own command line shows the fleet: the workers, and the queue of load orders."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.helpers.models import Mlp
from tests.helpers.stack import Stack


def rq_info(stack: Stack) -> list[str]:
    """The lines that `rq info` prints for the cell."""
    command = [str(Path(sys.executable).parent / "rq"), "info", "--raw", "-u"]
    env = {**os.environ, "RQ_KEY_PREFIX": stack.keys.rq_prefix}
    run = subprocess.run(
        [*command, stack.redis_server.url], env=env, capture_output=True, text=True, check=True
    )
    return run.stdout.splitlines()


def test_rq_info_lists_the_workers_and_the_cold_queue(stack: Stack, mlp: Mlp) -> None:
    """After a load has been ordered, taken and done."""
    stack.client().infer(mlp.name, mlp.question())

    lines = rq_info(stack)

    assert sum(line.startswith("queue cold 0,") for line in lines) == 1
    (worker,) = (line for line in lines if line.startswith("worker "))
    assert worker.startswith(f"worker {stack.workers[0].name} ")
    assert " cold. jobs: " in worker and " 0 failed" in worker


def test_rq_info_forgets_a_worker_that_was_stopped(stack: Stack) -> None:
    """Its RQ worker object signs off too."""
    newcomer = stack.add_worker()
    assert any(newcomer.name in line for line in rq_info(stack))

    assert newcomer.stop() == 0

    assert not any(newcomer.name in line for line in rq_info(stack))
