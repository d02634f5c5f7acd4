"""What the parent of a device process decides. What it does is in tests/system."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress

import pytest

from shared.config import WorkerConfig
from tests.helpers.wait import wait_until
from worker.supervisor import parent as parents
from worker.supervisor.parent import Parent, make_worker_id
from worker.supervisor.progress import Progress
from worker.supervisor.restart import DRAINED, GIVEN_UP, MISCONFIGURED, RECYCLED, TAKEN

LEASE_S = 1.0
SIGTERM, SIGKILL = -15, -9


class DeviceProcess:
    """The parent's view of a device process, as a test needs it."""

    def __init__(self, *, epoch: str = "1", hot: list[str] | None = None, lived_s: float = 1.0):
        self.progress = Progress()
        self.epoch, self.hot, self.lived_s = epoch, hot or [], lived_s
        self.is_stopped = False
        self.killed = ""

    def stopped(self) -> bool:
        return self.is_stopped

    def kill(self, cause: str) -> None:
        self.killed = cause

    def cause(self, status: int) -> str:
        return f"status {status}"


@pytest.fixture
async def parent(monkeypatch: pytest.MonkeyPatch) -> Parent:
    monkeypatch.setattr(parents, "TICK_S", 0.02)
    config = WorkerConfig(redis_url="redis://127.0.0.1:1/0", lease_s=LEASE_S, worker_id="w1")
    return Parent(config, {})


async def guarded(parent: Parent, child: DeviceProcess, enough: Callable[[], object]) -> None:
    """Let the parent watch `child` until `enough()`."""
    task = asyncio.create_task(parent._guard(child))
    await wait_until(enough)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def ticks(n: int) -> Callable[[], bool]:
    """True once the parent has had the time for at least `n` of its ticks."""
    ends = asyncio.get_running_loop().time() + n * parents.TICK_S
    return lambda: asyncio.get_running_loop().time() > ends


async def test_a_device_process_without_a_heartbeat_is_killed(parent: Parent) -> None:
    """It lives and is not stopped: some call holds the interpreter's lock for ever."""
    child = DeviceProcess()
    child.progress.beat()
    await guarded(parent, child, lambda: child.killed)
    assert child.killed == "its device process stood still for 1 s"


async def test_one_that_beats_is_left_alone(parent: Parent) -> None:
    """For twice the time after which a silent one is killed."""
    child, enough = DeviceProcess(), ticks(120)

    def beat() -> bool:
        child.progress.beat()
        return enough()

    await guarded(parent, child, beat)
    assert not child.killed


@pytest.mark.parametrize("begun", [True, False])
async def test_one_that_is_stopped_or_has_not_begun_is_left_alone(
    parent: Parent, begun: bool
) -> None:
    """A debugger is no fault, and loading torch takes its time."""
    child = DeviceProcess()
    if begun:
        child.progress.beat()
        child.is_stopped = True
    await guarded(parent, child, ticks(120))
    assert not child.killed


@pytest.mark.parametrize(
    ("status", "stopping", "registered", "epoch", "final"),
    [
        (DRAINED, True, True, "1", DRAINED),
        (DRAINED, False, True, "1", DRAINED),  # somebody told the device process itself
        (TAKEN, False, True, "1", TAKEN),
        (MISCONFIGURED, False, False, "", MISCONFIGURED),
        (MISCONFIGURED, False, True, "", None),  # its settings were right: Redis is away
        (RECYCLED, False, True, "1", None),
        (RECYCLED, True, True, "1", DRAINED),
        (SIGKILL, False, True, "1", None),
        (70, False, True, "1", None),
        (SIGKILL, True, True, "1", GIVEN_UP),
        (SIGTERM, True, False, "", DRAINED),  # told to stop before it had begun
        (SIGTERM, True, True, "1", GIVEN_UP),
    ],
)
async def test_what_becomes_of_the_pair(
    parent: Parent, status: int, stopping: bool, registered: bool, epoch: str, final: int | None
) -> None:
    """By how the device process ended: the status to end with, or None to start another."""
    parent._registered = registered
    if stopping:
        parent._stopping.set()
    assert parent._final(DeviceProcess(epoch=epoch), status) == final


async def test_what_was_not_loaded_again_before_the_next_crash_is_not_forgotten(
    parent: Parent,
) -> None:
    """Until one has lived for long: then what it does not hold was evicted."""
    parent._keep_hot(DeviceProcess(hot=["a", "b", "c"]))
    parent._keep_hot(DeviceProcess(hot=["b"]))
    assert parent._hot == ["b", "a", "c"]
    parent._keep_hot(DeviceProcess(hot=["c"], lived_s=60))
    assert parent._hot == ["c"]


def test_workers_are_named_by_their_settings_or_by_a_name_of_their_own() -> None:
    """Two on one host never have the same."""
    assert make_worker_id(WorkerConfig(worker_id="gpu-1")) == "gpu-1"
    one, other = make_worker_id(WorkerConfig()), make_worker_id(WorkerConfig())
    assert one != other and re.fullmatch(r"[A-Za-z0-9._-]{1,128}", one)
