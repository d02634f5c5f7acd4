"""The commands that start processes: asking them what they are starts none."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.paths import PYTHONPATH

MODULES = ["router", "worker", "deploy.local", "deploy.samples"]


def run(arguments: list[str], folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """`python -m` in a folder of its own, with settings that nothing can start under."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    given = {
        "PYTHONPATH": PYTHONPATH, "REDIS_URL": f"redis://127.0.0.1:{port}/0",
        "MODEL_REPOSITORY": f"file://{folder}", "WARMROUTE_DEVICE": "cpu",
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=folder, env={**os.environ, **given, **env},
        capture_output=True, text=True, timeout=50,
    )  # fmt: skip


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("asked", ["--help", "-h", "--version"])
def test_asking_starts_nothing(module: str, asked: str, tmp_path: Path) -> None:
    """Status 0, an answer, and no file or line beside it."""
    said = run([module, asked], tmp_path)
    assert (said.returncode, said.stderr) == (0, "")
    assert f"python -m {module}" in said.stdout or "warmroute" in said.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", [*MODULES, "worker.process"])
def test_an_argument_that_there_is_not_starts_nothing(module: str, tmp_path: Path) -> None:
    """Status 2."""
    said = run([module, "start"], tmp_path)
    assert said.returncode == 2
    assert "Traceback" not in said.stderr and list(tmp_path.iterdir()) == []


def test_a_worker_without_its_packages_ends_with_status_2(tmp_path: Path) -> None:
    """A sentence says what to install, and nothing is started again and again."""
    missing = "torch"
    broken = tmp_path / "broken" / missing
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text(f"raise ImportError('no module named {missing}')")
    paths = os.pathsep.join([str(broken.parent), PYTHONPATH])
    said = run(["worker"], tmp_path, PYTHONPATH=paths)
    assert said.returncode == 2
    assert f"no module named {missing}" in said.stderr and "warmroute[worker]" in said.stderr
    assert "Traceback" not in said.stderr


@pytest.mark.parametrize("module", ["router", "worker"])
def test_a_misspelt_setting_is_refused_by_who_is_strict(module: str, tmp_path: Path) -> None:
    """And named."""
    said = run([module], tmp_path, WARMROUTE_STRICT="1", WARMROUTE_LEASES="3")
    assert said.returncode == 2
    assert "WARMROUTE_LEASES is not a setting, did you mean WARMROUTE_LEASE_S?" in said.stderr


def test_a_password_that_is_not_encoded_is_a_sentence(tmp_path: Path) -> None:
    """And is not told."""
    said = run(["router"], tmp_path, REDIS_URL="redis://me:F6t/M#1@host:6379")
    assert said.returncode == 2
    assert "percent-encoded" in said.stderr and "F6t" not in said.stderr
