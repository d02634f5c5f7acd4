"""Children that are kept running, with real processes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local.child import Child, Restart
from deploy.local.process_tree import is_running as alive
from deploy.local.processes import CRASH_LOOP, start, wait_ready
from shared.errors import Unavailable
from tests.helpers.wait import block_until

QUICK = Restart(first_s=0.01, longest_s=0.05)
Run = Callable[..., Child]


@pytest.fixture
def lines() -> list[str]:
    """All that the children wrote."""
    return []


@pytest.fixture
def run(lines: list[str]) -> Iterator[Run]:
    """Keeps Python code running; what is left of it is killed."""
    started: list[Child] = []

    def run_code(code: str, restart: Restart | None = QUICK) -> Child:
        command = [sys.executable, "-u", "-c", code]
        started.append(start(command, name="it", log=lines.append, restart=restart))
        return started[-1]

    yield run_code
    for child in started:
        child.kill()


def test_output_is_shown_line_by_line(run: Run, lines: list[str]) -> None:
    """Standard output and standard error."""
    run("import sys, time; print('out'); print('err', file=sys.stderr); time.sleep(60)")
    block_until(lambda: len(lines) == 2)
    assert lines == ["out", "err"]


def test_a_crashed_process_is_reported_and_started_again(
    run: Run, lines: list[str], tmp_path: Path
) -> None:
    """It crashes twice, then runs; each crash is reported with its status."""
    counter = tmp_path / "starts"
    child = run(
        f"import sys, time; from pathlib import Path; p = Path({str(counter)!r}); "
        "n = p.read_text() if p.exists() else ''; p.write_text(n + 'x'); "
        "time.sleep(60) if n == 'xx' else sys.exit(7)"
    )
    block_until(lambda: counter.exists() and counter.read_text() == "xxx")
    block_until(lambda: child.restarts == 2)  # it is counted behind the start
    assert [line.partition(";")[0] for line in lines] == ["ended with status 7"] * 2
    assert (child.restarts, child.returncode) == (2, None)


def test_stop_lets_a_process_finish_and_does_not_restart_it(run: Run, lines: list[str]) -> None:
    """SIGTERM first: it may clean up."""
    child = run(
        "import signal, sys, time\n"
        "signal.signal(15, lambda *a: (print('bye'), sys.exit(0))); print('up'); time.sleep(60)"
    )
    block_until(lambda: "up" in lines)
    assert child.stop() == 0
    assert lines == ["up", "bye"]
    assert not alive(child.pid)


@pytest.mark.parametrize("apart", [False, True])
def test_one_that_ignores_sigterm_is_killed_with_its_children(
    run: Run, lines: list[str], apart: bool
) -> None:
    """The whole process group, and a child in a group of its own, as a worker has one."""
    child = run(
        "import signal, subprocess, time; signal.signal(15, signal.SIG_IGN); "
        f"child = subprocess.Popen(['sleep', '60'], start_new_session={apart}); "
        "print(child.pid); time.sleep(60)"
    )
    block_until(lambda: lines)
    assert child.stop(grace_s=0.2) == -signal.SIGKILL
    block_until(lambda: not alive(int(lines[0])))


def test_stop_during_the_wait_for_a_restart_returns_at_once(run: Run, lines: list[str]) -> None:
    """A long back-off does not hold up Ctrl-C."""
    child = run("raise SystemExit(1)", Restart(3600, 3600))
    block_until(lambda: lines)
    assert lines == ["ended with status 1; restarts in 3600 s"]
    began = time.monotonic()
    child.stop()
    assert time.monotonic() - began < 30
    assert child.restarts == 0


def test_a_process_that_ran_for_long_is_started_again_at_once(run: Run, lines: list[str]) -> None:
    """Whatever the wait after a crash is."""
    child = run("print('up')", Restart(3600, 3600, settled_s=0))
    block_until(lambda: len(lines) >= 2)
    child.stop()
    assert set(lines) == {"up"}


def test_waiting_ends_for_a_process_that_crashes_again_and_again(run: Run) -> None:
    """However long the timeout is."""
    child = run("raise SystemExit(3)")
    with pytest.raises(Unavailable, match=f"it crashed {CRASH_LOOP} times"):
        wait_ready(child, lambda: False, 60)


def test_processes_end_with_a_parent_that_was_killed() -> None:
    """kill -9 of it leaves no orphan."""
    code = (
        "import time\n"
        "from deploy.local.child import Restart\n"
        "from deploy.local.processes import start\n"
        "print(start(['sleep', '60'], name='it', log=print, restart=Restart()).pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent, parent.stdout:
        child = int(parent.stdout.readline())
        assert alive(child)
        parent.kill()
    block_until(lambda: not alive(child))
