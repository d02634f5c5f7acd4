"""A terminal in a folder that looks like a checkout after `make up`, for the documents."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local.settings import write_env_file
from tests.helpers import documents
from tests.helpers.paths import PYTHONPATH
from tests.helpers.stack import Stack
from warmroute.urls import VARIABLE

SETUP = ("README.md", "Quick start", "sh", 1)


class Terminal:
    """Runs commands in `folder` as they stand, but for what stands in <>."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.folder = folder
        self.url = stack.gateways[0].url
        write_env_file(self._make_state() / "env", _of_make_up(stack) | {VARIABLE: self.url})
        (folder / ".venv").symlink_to(sys.prefix)
        self._env = {
            "PATH": os.pathsep.join([str(self._make_shims()), os.environ["PATH"]]),
            "HOME": str(folder),
            "PYTHONPATH": PYTHONPATH,
        }

    def run(self, command: str, **filled: str) -> str:
        """What a command prints; it must succeed. `filled` replaces `<name>` by a value."""
        run = subprocess.run(
            ["sh", "-c", f"set -e\n{documents.block(*SETUP).text}{self._fill(command, filled)}"],
            cwd=self.folder, env=self._env, capture_output=True, text=True, timeout=120,
            check=False, errors="replace",  # redis-cli writes bytes as they are
        )  # fmt: skip
        assert run.returncode == 0, f"{command}\n{run.stderr}"
        return run.stdout

    def run_python(self, code: str) -> str:
        """What a piece of Python prints."""
        (self.folder / "example.py").write_text(self._fill(code, {}))
        return self.run("python example.py")

    @contextmanager
    def running(self, command: str) -> Iterator[subprocess.Popen[str]]:
        """A command that goes on until the end of the block, then gets SIGTERM and exits 0."""
        with subprocess.Popen(
            ["sh", "-c", self._fill(command, {})], cwd=self.folder, env=self._env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        ) as process:  # fmt: skip
            try:
                yield process
            finally:
                os.killpg(process.pid, signal.SIGTERM)
                said, _ = process.communicate(timeout=40)
            assert "Traceback" not in said, said

    def _fill(self, command: str, filled: dict[str, str]) -> str:
        for name, value in filled.items():
            command = command.replace(f"<{name}>", value)
        return command

    def _make_state(self) -> Path:
        state = self.folder / ".warmroute"
        state.mkdir()
        return state

    def _make_shims(self) -> Path:
        """`warmroute` is a script that pip makes of [project.scripts]. Where the project was not
        installed, but is run from its folder, here is the same."""
        shims = self.folder / "shims"
        shims.mkdir()
        if shutil.which("warmroute", path=f"{sys.prefix}/bin") is None:
            script = shims / "warmroute"
            script.write_text('#!/bin/sh\nexec python -m deploy.cli "$@"\n')
            script.chmod(0o755)
        return shims


def _of_make_up(stack: Stack) -> dict[str, str]:
    """What `.warmroute/env` holds: how to find the stack."""
    return {name: value for name, value in stack.environment.items() if name != "PORT"}
