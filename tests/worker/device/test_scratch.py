"""What a library keeps for itself is no part of a model."""

from __future__ import annotations

import os
import subprocess
import sys

from shared.config import WorkerConfig
from worker.supervisor.parent import Parent

MIB = 1 << 20
PRODUCTS = """
import torch
from worker.device.cpu import CpuDevice
device = CpuDevice(1)
rows, first, second = torch.ones(8, 16), torch.ones(16, 23437), torch.ones(23437, 16)
before = device.live() or 0
(rows @ first @ second).sum()
print((device.live() or 0) - before)
"""


def test_the_first_product_of_a_process_leaves_nothing_behind() -> None:
    """Else the first model that a worker loads is weighed with it, and may not fit any more."""
    config = WorkerConfig(redis_url="redis://127.0.0.1:1/0")
    ran = subprocess.run(
        [sys.executable, "-c", PRODUCTS], env=Parent(config, os.environ)._env,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(ran.stdout) < MIB
