"""Workers on one made-up host: what they take together is less than what its control group has."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from shared.config import WorkerConfig
from tests.helpers.fake_host import FakeHost, v2_host
from worker.device import shared_host
from worker.device.base import Device
from worker.device.budget import budget_of, host_budget_of
from worker.device.host_share import MOST, MOST_OF_DISK, POOL
from worker.device.shared_host import DISK_BYTES, SharedHost

GIB = 1 << 30
CPU, GPU = SimpleNamespace(kind="cpu"), SimpleNamespace(kind="cuda")
Start = Callable[..., "Started"]


class Started:
    """A worker that computes its budgets: of the device (on a CPU), of pinned memory, of disk."""

    def __init__(self, place: Path, host: FakeHost, kind: Any, cache: str, settings: Any) -> None:
        self.config = WorkerConfig(**{"shared_memory": str(place), **settings})
        self._device = cast(Device, kind)
        root = place / cache
        root.mkdir(exist_ok=True)
        self.shared = SharedHost(self.config, self._device, root, host.root)
        self.root = root

    @property
    def memory(self) -> int:
        if self._device.kind == "cuda":  # its device is not the host's memory
            return 0
        return budget_of(self.config, self._device, self.shared.memory)

    @property
    def pinned(self) -> int:
        return host_budget_of(self.config, self._device, self.shared.memory)


@pytest.fixture(autouse=True)
def _processes_of_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """All made-up workers are in this process, whose size depends on the tests before."""
    monkeypatch.setattr(shared_host, "anonymous_bytes", lambda path: 100 << 20)


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    return v2_host(tmp_path / "host", 16 * GIB)


@pytest.fixture
def start(tmp_path: Path, host: FakeHost) -> Iterator[Start]:
    started: list[Started] = []

    def begin(kind: Any = CPU, cache: str = "cache", **settings: Any) -> Started:
        started.append(Started(tmp_path, host, kind, cache, settings))
        return started[-1]

    yield begin
    for worker in started:
        worker.shared.leave()


def total(workers: list[Started]) -> int:
    return sum(worker.memory + worker.pinned for worker in workers)


@pytest.mark.parametrize("kinds", [[CPU] * 8, [GPU] * 8, [CPU] * 3 + [GPU] * 5])
def test_eight_workers_take_less_than_the_control_group_has(kinds: list[Any], start: Start) -> None:
    """Memory for models and pinned memory together; and each of them gets something."""
    workers = [start(kind) for kind in kinds]
    assert total(workers) <= 16 * GIB * POOL
    assert all(worker.memory + worker.pinned > GIB // 4 for worker in workers)


def test_eight_caches_take_less_than_their_disk_has(start: Start) -> None:
    """In eight folders, or in one, which has one budget."""
    workers = [start(cache=f"cache-{n}") for n in range(8)]
    disk = os.statvfs(workers[0].root)
    whole = disk.f_blocks * disk.f_frsize
    assert 0 < sum(worker.shared.disk(0) for worker in workers) <= whole * MOST_OF_DISK
    same = start(cache="cache-0")
    assert same.shared.disk(0) <= min(DISK_BYTES, whole // 8)


def test_explicit_budgets_are_taken_and_the_others_get_what_is_left(start: Start) -> None:
    """Beside a reserve."""
    fixed = [start(memory_bytes=5 * GIB) for _ in range(2)]
    others = [start() for _ in range(6)]
    assert [worker.memory for worker in fixed] == [5 * GIB] * 2
    assert 0 < total(others) <= 16 * GIB * MOST - 10 * GIB


def test_one_that_comes_takes_its_part_and_leaves_it_again(start: Start) -> None:
    """The others are corrected at their next look."""
    one = start()
    alone = one.memory
    other = start()
    assert one.memory == other.memory <= alone // 2
    other.shared.leave()
    assert one.memory == alone > 7 * GIB


def test_a_start_that_cannot_fit_says_so(start: Start) -> None:
    """The one that makes it too much; with its settings it starts all the same."""
    first = start(memory_bytes=12 * GIB)
    assert first.shared.misfit() == ""
    second = start(memory_bytes=12 * GIB)
    assert "control group has 17179 MB" in second.shared.misfit()
    assert second.memory == 12 * GIB


def test_without_a_place_to_meet_a_worker_counts_as_alone(
    tmp_path: Path, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """And its log says so: the folder is not one, or cannot be written to."""
    with caplog.at_level(logging.WARNING):
        one = start(shared_memory="/proc/self/status")
    assert one.memory > 7 * GIB
    assert "cannot be seen" in caplog.text
