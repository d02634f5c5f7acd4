"""Real processes under the supervisor."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.up.procfile import ProcessSpec
from deploy.up.supervisor import Backoff, Supervisor
from tests.deploy.processes import alive
from tests.deploy.processes import block_until as wait_here_until
from tests.helpers.wait import block_until

QUICK = Backoff(first_s=0.01, longest_s=0.05)
Said = list[tuple[str, str]]


@pytest.fixture
def said() -> Said:
    """Every line, with the process that said it."""
    return []


@pytest.fixture
async def supervisor(said: Said) -> AsyncIterator[Supervisor]:
    """A supervisor whose processes end with the test."""
    supervisor = Supervisor(lambda name, line: said.append((name, line)), QUICK)
    yield supervisor
    await supervisor.stop(grace_s=0.1)


def python(code: str) -> str:
    return f"{sys.executable} -u -c '{code}'"


async def test_output_is_shown_with_the_name_of_the_process(
    supervisor: Supervisor, said: Said
) -> None:
    """Standard output and standard error, line by line, in the given environment."""
    code = 'import os, sys; print(os.environ["WHO"]); print("err", file=sys.stderr); input'
    wait = "; import time; time.sleep(60)"
    supervisor.start([ProcessSpec("web.1", python(code + wait), {"WHO": "me"})])
    await block_until(lambda: len(said) >= 2)
    assert said == [("web.1", "me"), ("web.1", "err")]


async def test_a_crashed_process_is_reported_and_started_again(
    supervisor: Supervisor, said: Said, tmp_path: Path
) -> None:
    """It crashes twice, then runs; each crash is told with its status."""
    counter = tmp_path / "starts"
    code = (
        f'import sys, time; from pathlib import Path; p = Path("{counter}"); '
        'n = p.read_text() if p.exists() else ""; p.write_text(n + "x"); '
        'time.sleep(60) if n == "xx" else sys.exit(7)'
    )
    supervisor.start([ProcessSpec("worker.1", python(code))])
    await block_until(lambda: counter.exists() and counter.read_text() == "xxx")
    crashes = [line for _, line in said if "ended with status 7" in line]
    assert len(crashes) == 2
    assert supervisor.processes[0].restarts == 2


async def test_stop_lets_a_process_finish_and_does_not_restart_it(
    supervisor: Supervisor, said: Said
) -> None:
    """SIGTERM first: a handler has its say before the process is gone."""
    code = (
        "import signal, sys, time; "
        'signal.signal(15, lambda *a: (print("bye"), sys.exit(0))); print("up"); time.sleep(60)'
    )
    supervisor.start([ProcessSpec("worker.1", python(code))])
    await block_until(lambda: ("worker.1", "up") in said)
    pid = supervisor.processes[0].pid
    await supervisor.stop(grace_s=10)
    assert said[-1] == ("worker.1", "bye")
    assert pid is not None
    assert not alive(pid)


@pytest.mark.parametrize("apart", [False, True])
async def test_who_ignores_sigterm_is_killed_after_the_grace_time_with_its_children(
    supervisor: Supervisor, said: Said, apart: bool
) -> None:
    """The whole process group goes, and a child in a group of its own, as a worker has one."""
    code = (
        "import signal, subprocess, time; signal.signal(15, signal.SIG_IGN); "
        f'child = subprocess.Popen(["sleep", "60"], start_new_session={apart}); '
        "print(child.pid); time.sleep(60)"
    )
    supervisor.start([ProcessSpec("worker.1", python(code))])
    await block_until(lambda: said)
    grandchild = int(said[0][1])
    await supervisor.stop(grace_s=0.2)
    assert "killed" in said[-1][1]
    await block_until(lambda: not alive(grandchild))


async def test_whoever_cannot_wait_for_the_grace_time_need_not(
    supervisor: Supervisor, said: Said
) -> None:
    """A second Ctrl-C kills at once."""
    code = 'import signal, time; signal.signal(15, signal.SIG_IGN); print("up"); time.sleep(60)'
    supervisor.start([ProcessSpec("worker.1", python(code))])
    await block_until(lambda: said)
    hurry = asyncio.Event()
    stopping = asyncio.create_task(supervisor.stop(3600, hurry))
    hurry.set()
    await asyncio.wait_for(stopping, 20)
    assert "killed" in said[-1][1]


async def test_stop_during_the_wait_for_a_restart_returns_at_once(
    said: Said,
) -> None:
    """A long back-off does not hold up Ctrl-C."""
    supervisor = Supervisor(lambda name, line: said.append((name, line)), Backoff(3600, 3600))
    supervisor.start([ProcessSpec("web.1", python("raise SystemExit(1)"))])
    await block_until(lambda: any("again in 3600 s" in line for _, line in said))
    await supervisor.stop(grace_s=10)
    assert supervisor.processes[0].restarts in (0, 1)
    assert supervisor.processes[0].pid is None


def test_restarts_wait_twice_as_long_each_time_up_to_a_limit() -> None:
    """0.5, 1, 2 and so on to 30 seconds."""
    waits = [Backoff().wait_s(crashes) for crashes in (1, 2, 3, 7, 8, 1000)]
    assert waits == [0.5, 1, 2, 30, 30, 30]


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_processes_end_with_a_supervisor_that_was_killed() -> None:
    """kill -9 of the supervisor leaves no orphan."""
    code = (
        "import asyncio\n"
        "from deploy.up.procfile import ProcessSpec\n"
        "from deploy.up.supervisor import Supervisor\n"
        "async def main():\n"
        "    s = Supervisor(lambda name, line: print(line, flush=True))\n"
        "    s.start([ProcessSpec('a.1', 'sh -c \"echo $$; exec sleep 60\"')])\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent, parent.stdout:
        child = int(parent.stdout.readline())
        assert alive(child)
        os.kill(parent.pid, signal.SIGKILL)
    wait_here_until(lambda: not alive(child))
