"""The processes of a stack, and what may be done to them: a worker is a pair of processes.

Its parent is the child that the stack started; the device process is the parent's own child.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from deploy.local.process_tree import descendants
from deploy.local.process_tree import is_running as runs
from deploy.local.processes import Process
from tests.helpers.wait import block_until

__all__ = ["Process", "Signals", "failed_loads", "loads", "runs", "send"]


def loads(worker: Process, model: str) -> int:
    """How often a worker has loaded a model."""
    return worker.log.count(f"loaded {model}:")


def failed_loads(worker: Process, model: str) -> int:
    """How often a worker has tried to load a model in vain."""
    return worker.log.count(f"load of {model}:")


class Signals:
    """What can be sent to gateways and workers."""

    def device_pid(self, worker: Process) -> int:
        """The device process of a worker; 0 while there is none."""
        return next(iter(descendants(worker.child.pid)), 0) if worker.running else 0

    def pids(self, process: Process) -> list[int]:
        """All processes of a gateway or a worker, parents first."""
        return [process.child.pid, *descendants(process.child.pid)] if process.running else []

    def kill(self, process: Process) -> None:
        """`kill -9` of all of it: of a worker the parent (first, so that it cannot report the
        other's death) and the device process. Returns when they have ended."""
        pids = self.pids(process)
        for pid in pids:
            send(pid, signal.SIGKILL)
        process.child.kill()
        block_until(lambda: not any(runs(pid) for pid in pids))

    def kill_device(self, worker: Process, number: int = signal.SIGKILL) -> int:
        """Send a signal, by default `kill -9`, to the device process alone; its pid."""
        block_until(lambda: self.device_pid(worker))
        pid = self.device_pid(worker)
        send(pid, number)
        return pid

    def pause(self, process: Process) -> None:
        """SIGSTOP to all of it: it neither works nor renews its lease."""
        for pid in self.pids(process):
            send(pid, signal.SIGSTOP)

    def resume(self, process: Process) -> None:
        """SIGCONT to all of it."""
        for pid in self.pids(process):
            send(pid, signal.SIGCONT)


def send(pid: int, number: int) -> None:
    """Send a signal; nothing if that process has ended, or if there is none: 0."""
    if pid == 0:  # to the system all processes of this group
        return
    with suppress(ProcessLookupError):
        os.kill(pid, number)
