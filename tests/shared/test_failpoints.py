"""Failpoints: what arms them, when they act, and that a fault leaves a line before it strikes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shared import failpoints
from shared.errors import ConfigError, Unavailable
from tests.helpers.pair import runs

PYTHON = "import os; from shared import failpoints; failpoints.arm(os.environ); "


def points(text: str, **more: str) -> failpoints.Points:
    return failpoints.read({"WARMROUTE_FAILPOINT": text, **more})


def raises(armed: failpoints.Points, name: str) -> bool:
    try:
        armed.arrive(name)
    except Unavailable:
        return True
    return False


def run(code: str, point: str, log: Path) -> subprocess.CompletedProcess[str]:
    """A process of its own, armed with `point`."""
    env = {"WARMROUTE_FAILPOINT": point, "WARMROUTE_FAILPOINT_LOG": str(log)}
    root = Path(__file__).resolve().parents[2]
    return subprocess.run(
        [sys.executable, "-c", PYTHON + code], env=env, cwd=root, capture_output=True, text=True,
        timeout=30, check=False,
    )  # fmt: skip


def test_nothing_is_armed_unless_it_is_asked_for() -> None:
    """As in this very process."""
    assert not failpoints.ACTIVE
    assert points("").armed == []


def test_a_point_acts_the_nth_time_and_only_then() -> None:
    """The first without `@`; other points are not its business."""
    armed = points("a.before:raise,b:raise@3")
    assert [raises(armed, "a.before") for _ in range(3)] == [True, False, False]
    assert [raises(armed, "b") for _ in range(5)] == [False, False, True, False, False]
    assert not raises(armed, "c")


def test_points_in_a_file_can_be_armed_while_the_process_runs(tmp_path: Path) -> None:
    """Each change of the file counts from the beginning; what has acted does so no more."""
    file, log = tmp_path / "points", tmp_path / "log"
    file.write_text("")
    armed = points(f"@{file}", WARMROUTE_FAILPOINT_LOG=str(log))
    assert not raises(armed, "a")
    file.write_text("a:raise@2")
    assert [raises(armed, "a") for _ in range(3)] == [False, True, False]
    file.write_text("a:raise,b:raise")
    assert (raises(armed, "a"), raises(armed, "b")) == (False, True)
    assert [line.split()[0] for line in log.read_text().splitlines()] == ["a", "b"]


def test_chance_falls_the_same_way_for_the_same_seed() -> None:
    """And another way for another."""

    def falls(seed: str) -> list[bool]:
        armed = points("a:raise@0.3", WARMROUTE_FAILPOINT_SEED=seed)
        return [raises(armed, "a") for _ in range(200)]

    assert falls("1") == falls("1") != falls("2")
    assert 30 < sum(falls("1")) < 90


@pytest.mark.parametrize("text", ["a", "a:die", "a:kill@x", "a:sleep", "A:kill", "a:kill@1,b"])
def test_what_cannot_be_read_is_refused(text: str) -> None:
    """A test that arms nothing would prove nothing."""
    with pytest.raises(ConfigError, match="WARMROUTE_FAILPOINT"):
        points(text)


async def test_sleep_lets_the_loop_go_on_and_keeps_a_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`reach` awaits, `reach_now` does not return before."""
    monkeypatch.setattr(failpoints, "_points", points("a:sleep=50,b:sleep=50"))
    monkeypatch.setattr(failpoints, "ACTIVE", True)
    began = time.monotonic()
    task = asyncio.create_task(failpoints.reach("a"))
    await asyncio.sleep(0)
    assert not task.done()
    await task
    await asyncio.to_thread(failpoints.reach_now, "b")
    assert time.monotonic() - began >= 0.1


def test_a_killed_process_has_left_its_line(tmp_path: Path) -> None:
    """SIGKILL, and the log names point, action and process: a test can tell that it happened."""
    log = tmp_path / "log"
    ended = run("print('here', flush=True); failpoints.reach_now('a')", "a:kill", log)
    assert (ended.returncode, ended.stdout) == (-signal.SIGKILL, "here\n")
    name, action, pid = log.read_text().split()
    assert (name, action) == ("a", "kill") and not runs(int(pid))


def test_a_point_acts_once_for_all_processes_of_one_log(tmp_path: Path) -> None:
    """What is restarted with the same environment lives."""
    log = tmp_path / "log"
    code = "failpoints.reach_now('a'); print('alive')"
    assert run(code, "a:kill", log).returncode == -signal.SIGKILL
    assert run(code, "a:kill", log).stdout == "alive\n"
    assert len(log.read_text().splitlines()) == 1


def test_a_stopped_process_goes_on_when_it_is_continued(tmp_path: Path) -> None:
    """State T in between."""
    env = {"WARMROUTE_FAILPOINT": "a:stop"}
    code = PYTHON + "failpoints.reach_now('a')"
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen([sys.executable, "-c", code], env=env, cwd=root) as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        os.kill(process.pid, signal.SIGCONT)
        assert process.wait(20) == 0
