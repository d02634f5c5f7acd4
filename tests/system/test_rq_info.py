"""RQ's own command line shows the queue of load orders."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.helpers.models import Mlp
from tests.helpers.stack import Stack


def test_rq_info_lists_the_cold_queue(stack: Stack, mlp: Mlp) -> None:
    """After a load has been ordered, taken and done."""
    stack.client().infer(mlp.name, mlp.question())
    command = [str(Path(sys.executable).parent / "rq"), "info", "--raw", "-u"]
    env = {**os.environ, "RQ_KEY_PREFIX": stack.keys.rq_prefix}
    run = subprocess.run(
        [*command, stack.redis_server.url], env=env, capture_output=True, text=True, check=True
    )
    lines = run.stdout.splitlines()
    assert sum(line.startswith("queue cold 0,") for line in lines) == 1
