"""How many threads of OpenMP a worker's device thread has."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from shared.config import WorkerConfig
from worker.supervisor.parent import Parent

# What a device process does: torch is told its threads on one thread, and computes on another.
COMPUTE = """
import asyncio, os, sys
import torch
from worker.device.cpu import CpuDevice
from worker.device.thread import DeviceThread
device, thread = CpuDevice(int(sys.argv[1])), DeviceThread()
layer, rows = torch.nn.Linear(1024, 1024), torch.ones(1024, 1024)
asyncio.run(thread.run(lambda: None))
before = len(os.listdir("/proc/self/task"))
asyncio.run(thread.run(lambda: layer(rows).exp()))
print(len(os.listdir("/proc/self/task")) - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
@pytest.mark.parametrize(("threads", "more"), [(1, 0), (3, 2)])
def test_a_device_thread_computes_with_as_many_threads_as_configured(
    threads: int, more: int
) -> None:
    """By the environment, which its parent sets, and by torch's own setting: whether that reaches a
    thread that begins later depends on how torch was built. A second pool of threads that spin made
    small models three times slower beside another worker."""
    config = WorkerConfig(redis_url="redis://127.0.0.1:1/0", threads=threads)
    environment = Parent(config, os.environ)._env
    assert environment["OMP_NUM_THREADS"] == str(threads)
    command = [sys.executable, "-c", COMPUTE, str(threads)]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert int(ran.stdout) == more
