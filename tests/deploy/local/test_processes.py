from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local.child import Child
from deploy.local.folders import folder_lock
from deploy.local.process_tree import is_running as alive
from deploy.local.processes import start, wait_ready
from shared.errors import ConfigError, Unavailable
from tests.helpers.wait import block_until

Run = Callable[..., Child]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Starts Python code as a child; what is left of it is killed."""
    started: list[Child] = []

    def run_code(code: str, **options: object) -> Child:
        command = [sys.executable, "-u", "-c", textwrap.dedent(code)]
        started.append(start(command, name="it", log=tmp_path / "log", **options))  # type: ignore[arg-type]
        return started[-1]

    yield run_code
    for child in started:
        child.kill()


def test_a_child_runs_with_what_it_was_given(run: Run, tmp_path: Path) -> None:
    """Environment, folder, output to the log, exit status."""
    code = "import os, sys; print(os.environ['WORD'], os.getcwd(), os.getpid()); sys.exit(3)"
    child = run(code, env={"WORD": "hello"}, cwd=tmp_path)
    assert child.wait(20) == 3
    assert child.returncode == 3
    assert child.log_tail() == f"hello {tmp_path} {child.pid}"


def test_a_child_is_stopped_gently(run: Run) -> None:
    """SIGTERM first: it may clean up."""
    child = run(
        """
        import signal, sys, time
        def bye(*args):
            print("bye")
            sys.exit(0)
        signal.signal(signal.SIGTERM, bye)
        print("ready")
        time.sleep(60)
        """
    )
    wait_ready(child, lambda: "ready" in child.log_tail(), 20)
    assert child.stop() == 0
    assert "bye" in child.log_tail()
    assert child.stop() == 0


def test_a_child_that_will_not_stop_is_killed_with_its_own_children(run: Run) -> None:
    """SIGKILL to the whole group, once the grace is over."""
    child = run(
        """
        import signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        print("grandchild", grandchild.pid)
        time.sleep(60)
        """
    )
    wait_ready(child, lambda: "grandchild" in child.log_tail(), 20)
    grandchild = int(child.log_tail().split()[1])
    assert child.stop(grace_s=0.1) == -signal.SIGKILL
    block_until(lambda: not alive(grandchild))


def test_ctrl_c_at_the_terminal_does_not_reach_a_child(run: Run) -> None:
    """It has a group and session of its own; its parent decides the order of stopping."""
    child = run("import time; time.sleep(60)")
    assert os.getpgid(child.pid) == child.pid != os.getpgid(0)


def test_a_child_that_ends_early_is_an_error_with_its_output(run: Run) -> None:
    """Not only after a timeout."""
    child = run("print('no such option'); raise SystemExit(2)")
    with pytest.raises(Unavailable, match=r"(?s)status 2.*no such option"):
        wait_ready(child, lambda: False, 20)


def test_a_child_that_never_gets_ready_is_an_error(run: Run) -> None:
    """With what it logged."""
    child = run("import time; print('thinking'); time.sleep(60)")
    with pytest.raises(Unavailable, match=r"(?s)not ready in 0.5 s"):
        wait_ready(child, lambda: False, 0.5)


def test_a_program_that_is_not_there_cannot_be_started(tmp_path: Path) -> None:
    """However the start goes wrong, it is Unavailable and says which program."""
    with pytest.raises(Unavailable, match="nothing"):
        child = start([str(tmp_path / "nothing")], name="nothing", log=tmp_path / "log")
        wait_ready(child, lambda: False, 20)


def test_only_the_end_of_a_long_log_is_shown(run: Run) -> None:
    """A log of many megabytes is not read whole."""
    child = run("for n in range(100_000): print('line', n)")
    assert child.wait(20) == 0
    assert child.log_tail().splitlines()[-1] == "line 99999"
    assert len(child.log_tail().splitlines()) == 15


@pytest.mark.skipif(sys.platform != "linux", reason="Linux sends the signal")
def test_children_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    """kill -9 of the parent, which had started the child on a thread that ended long before."""
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(
                f"""
                import sys, threading, time
                from pathlib import Path
                from deploy.local.processes import start
                def begin():
                    command = [sys.executable, "-c", "import time; time.sleep(60)"]
                    print(start(command, name="it", log=Path({str(tmp_path / "log")!r})).pid)
                thread = threading.Thread(target=begin)
                thread.start()
                thread.join()
                sys.stdout.flush()
                time.sleep(60)
                """
            ),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    try:
        child = int(parent.stdout.readline())
        assert alive(child)
    finally:
        parent.kill()
        parent.communicate()
    block_until(lambda: not alive(child))


def test_a_folder_is_locked_as_long_as_the_server_lives(run: Run, tmp_path: Path) -> None:
    """Also when the process that started it has forgotten it."""
    with folder_lock(tmp_path / "data") as lock:
        child = run("import time; time.sleep(60)", pass_fds=[lock])
    with pytest.raises(ConfigError, match="another process"):
        with folder_lock(tmp_path / "data"):
            pass
    child.kill()
    with folder_lock(tmp_path / "data"):
        pass
