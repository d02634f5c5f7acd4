"""Numbers in shared memory: what a process had come to is known after its death."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from worker.supervisor.progress import Progress, shared_file

WRITER = (
    "import os, signal, sys\n"
    "from worker.supervisor.progress import Progress\n"
    "progress = Progress(int(sys.argv[1]))\n"
    "progress.beat(), progress.beat()\n"
    "progress.start(7, 12.5)\n"
    "os.kill(os.getpid(), signal.SIGKILL)\n"
)


def test_what_a_killed_process_ran_is_known() -> None:
    """It was killed between `start` and `end`: its batch, and its beats, can be read."""
    file = shared_file()
    progress = Progress(file)
    ended = subprocess.run([sys.executable, "-c", WRITER, str(file)], pass_fds=[file])
    os.close(file)
    assert ended.returncode == -signal.SIGKILL
    assert (progress.running, progress.overdue_at, progress.beats) == (7, 12.5, 2)


def test_nothing_runs_before_the_first_batch_and_after_each() -> None:
    """0 is no batch."""
    progress = Progress()
    assert (progress.running, progress.beats) == (0, 0)
    progress.start(1, 3.0)
    progress.end()
    assert progress.running == 0


def test_two_of_them_share_nothing_without_a_file() -> None:
    """Without a file the memory is its own."""
    one, other = Progress(), Progress()
    one.start(3, 1.0)
    assert other.running == 0
