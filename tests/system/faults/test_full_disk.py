"""F24: the disk of a worker's cache is full: a small file system in memory, which needs root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.http import Answer
from tests.helpers.models import Mlp, publish_mlp
from tests.helpers.stack import Process, Stack
from tests.helpers.wait import block_until
from tests.system.setup import ONE_ROW

DISK_BYTES = 4 << 20
LEFT_BYTES = 256 << 10
LARGE_BYTES = 1 << 20
PROMPTLY_S = 60

pytestmark = pytest.mark.slow


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Four MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = f"size={DISK_BYTES},mode=0700"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"cannot mount a file system: {error}")
    if mounted.returncode:
        pytest.skip(f"cannot mount a file system: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def worker(cell: Stack, disk: Path) -> Iterator[Process]:
    """The only one; its cache is there."""
    cell.scale(gateways=1, workers=0)
    worker = cell.add_worker(WARMROUTE_DISK_CACHE=str(disk))
    yield worker
    assert worker.stop() == 0


def free_bytes(folder: Path) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def ask(stack: Stack, model: Mlp, timeout_s: int = 30) -> Answer:
    path = f"/v2/models/{model.name}/infer"
    return stack.http("POST", path, ONE_ROW, {"Warmroute-Timeout": str(timeout_s)})


def test_a_full_disk_fails_the_load_and_nothing_else(
    cell: Stack, worker: Process, disk: Path, model: Mlp
) -> None:
    """The cause is told, nothing half written stays, the warm model serves on; with room again the
    load succeeds."""
    assert ask(cell, model).status == 200
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(free_bytes(disk) - LEFT_BYTES))
    left = free_bytes(disk)
    large = publish_mlp(cell.repository, cell.folder, size=LARGE_BYTES)

    said: list[Answer] = []
    block_until(lambda: said.append(ask(cell, large, 3)) or said[-1].status == 503, PROMPTLY_S)

    assert {answer.status for answer in said} <= {503, 504}
    assert b"do not fit" in said[-1].body
    assert said[-1].headers["warmroute-error"] == "disk_full"
    assert said[-1].headers["retry-after"]
    block_until(lambda: free_bytes(disk) >= left - LARGE_BYTES // 16)
    assert ask(cell, model).status == 200

    ballast.unlink()

    block_until(lambda: ask(cell, large, 3).status == 200, PROMPTLY_S)
    assert worker.running and "Traceback" not in worker.log
