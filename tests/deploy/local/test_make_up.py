"""`make up` as a user runs it: real processes, real models, real answers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.local.folders import STATE
from deploy.local.process_tree import is_running as alive
from shared.parent_death import tied
from tests.helpers.wait import block_until
from warmroute import Client

ROOT = Path(__file__).parents[3]
PROMPTLY_S = 60.0
STARTED_WITHIN_S = 240.0  # samples that are not made yet are made first

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@dataclass
class Stack:
    """A stack that stays up: its process, its screen so far, and what it offers to try."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def screen(self) -> str:
        return self.log.read_text()

    @property
    def url(self) -> str:
        return re.findall(r"Ready at (http://\S+)", self.screen)[-1]

    @property
    def commands(self) -> list[str]:
        """curl, Python, redis-cli, and one more worker."""
        screen = self.screen[self.screen.index("Ready at") :]
        return [line[2:] for line in screen.splitlines() if re.match(r"  \S", line)]

    def children(self) -> list[int]:
        listed = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(pid) for path in listed for pid in path.read_text().split()]


@contextmanager
def started(log: Path) -> Iterator[Stack]:
    """`python -m deploy.local`, stopped at the end of the block if it still runs."""
    with log.open("wb") as screen:
        process = subprocess.Popen(
            # Tied to this process, so that a test run that is killed leaves no stack behind.
            tied([sys.executable, "-m", "deploy.local"]),
            cwd=ROOT,
            stdout=screen,
            stderr=subprocess.STDOUT,
            env=clean_environment(),
            start_new_session=True,
        )
    with process:
        try:
            yield Stack(process, log)
        finally:
            process.send_signal(signal.SIGINT)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that is ready."""
    with started(tmp_path_factory.mktemp("up") / "screen") as stack:
        block_until(lambda: _started(stack), STARTED_WITHIN_S)
        yield stack


def _started(stack: Stack) -> bool:
    assert stack.process.poll() is None, stack.screen[-3000:]
    return "Ctrl-C stops everything" in stack.screen


def clean_environment() -> dict[str, str]:
    """Ours, without what names other servers or a port."""
    named = ("REDIS_URL", "MODEL_REPOSITORY", "PORT", "WORKERS", "ONCE")
    return {name: value for name, value in os.environ.items() if name not in named}


def shell(command: str) -> str:
    run = subprocess.run(
        ["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_the_file_to_source_names_the_gateway(stack: Stack) -> None:
    """So that the command line asks this stack, on whatever port."""
    found = re.search(r"\. (\S+); set", stack.commands[-1])
    assert found
    command = f'. {found[1]}; printf %s "$WARMROUTE_URL"'
    said = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert said.stdout == stack.url


def test_every_sample_model_is_in_the_table_with_a_right_answer(stack: Stack) -> None:
    """Eight rows, none of them marked wrong."""
    from deploy.samples.catalogue import DEFAULT_SET

    rows = [line.split()[0] for line in stack.screen.splitlines() if line.strip()]
    assert len(DEFAULT_SET) == 8
    assert {sample.name for sample in DEFAULT_SET} <= set(rows)
    assert "WRONG" not in stack.screen


def test_two_workers_cannot_hold_all_samples_and_keep_within_their_budgets(stack: Stack) -> None:
    """The variants of MiniLM alone are too many: each one that comes in makes another go."""
    from deploy.samples.catalogue import VARIANTS
    from deploy.samples.store import find

    found = [built for sample in VARIANTS if (built := find(sample, STATE / "samples"))]
    distinct = {file.sha256: file.size for built in found for file in built.stamp.files}
    with Client(stack.url) as client:
        for built in found[:8]:
            assert built.right(client.infer(built.name, built.sample_request()).outputs)
        workers = client.workers()
    budgets = [worker["budget_bytes"] for worker in workers]
    assert len(budgets) == 2
    assert sum(budgets) < sum(distinct.values())
    assert all(worker["used_bytes"] <= worker["budget_bytes"] for worker in workers)
    held = {model["name"] for worker in workers for model in worker["models"]}
    assert not {built.name for built in found[:8]} <= held


def test_the_curl_request_works_as_printed(stack: Stack) -> None:
    """Plain JSON in and out."""
    answer = json.loads(shell(stack.commands[0]))
    assert answer["outputs"]


def test_the_python_request_works_as_printed(stack: Stack) -> None:
    """It prints the outputs, and the worker that computed them."""
    assert "worker='" in shell(stack.commands[1])


def test_the_redis_cli_request_works_as_printed(stack: Stack) -> None:
    """An entry in the stream, and its answer on the stream it asked for."""
    assert "succeeded" in shell(stack.commands[2])


def test_no_secret_is_on_the_screen(stack: Stack) -> None:
    """They are in the env file, which only its owner can read."""
    path = ROOT / re.findall(r"\. (\S+/env);", stack.commands[3])[0]
    assert path.stat().st_mode & 0o077 == 0
    (secret,) = re.findall(r"AWS_SECRET_ACCESS_KEY=(\S+)", path.read_text())
    assert secret not in stack.screen


def test_a_worker_started_by_the_printed_command_joins(stack: Stack) -> None:
    """And leaves on Ctrl-C."""
    with Client(stack.url) as client:
        before = {worker["id"] for worker in client.workers()}
        worker = subprocess.Popen(["sh", "-c", f"exec {_unwrapped(stack.commands[3])}"], cwd=ROOT)
        with worker:
            block_until(lambda: {w["id"] for w in client.workers()} - before, PROMPTLY_S)
            worker.send_signal(signal.SIGTERM)
        block_until(lambda: {w["id"] for w in client.workers()} <= before, PROMPTLY_S)


def _unwrapped(command: str) -> str:
    """Without the subshell, so that the signal reaches the worker itself."""
    settings, _, run = command[1:-1].rpartition("; ")
    return f"sh -c '{settings}; exec {run}'"


def test_a_second_run_beside_it_has_servers_and_ports_of_its_own_and_ends_by_itself(
    stack: Stack,
) -> None:
    """`warmroute up --once --json` answers rightly while the first stays as it was."""
    run = subprocess.run(
        [sys.executable, "-m", "deploy.cli", "up", "--once", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=clean_environment(),
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    rows = json.loads(run.stdout)
    assert [row["right"] for row in rows] == [True] * 8
    assert all(row["cold_ms"] is not None for row in rows)
    with Client(stack.url) as client:
        assert client.ready()


def test_ctrl_c_while_it_starts_leaves_nothing_behind(tmp_path: Path) -> None:
    """As soon as the first server is up, before any model is published."""
    with started(tmp_path / "screen") as early:
        block_until(lambda: "redis  " in early.screen, PROMPTLY_S)
        pids = early.children()
        early.process.send_signal(signal.SIGINT)
        assert early.process.wait(60) == 130, early.screen[-3000:]
    assert pids
    # One that was killed takes a moment to end.
    block_until(lambda: not any(alive(pid) for pid in pids))


def test_ctrl_c_stops_every_process_and_is_no_failure(stack: Stack) -> None:
    """Exit status 0, nothing left running, and the port is free. Last, as it ends the stack."""
    pids = stack.children()
    assert len(pids) >= 5  # redis, S3, one gateway, two workers
    stack.process.send_signal(signal.SIGINT)
    assert stack.process.wait(60) == 0, stack.screen[-3000:]
    # One that was killed takes a moment to end.
    block_until(lambda: not any(alive(pid) for pid in pids))
