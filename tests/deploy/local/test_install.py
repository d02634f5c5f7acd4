"""Making `.venv`: what is done, in which order, and when nothing is done."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import install


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with pins, and no environment yet."""
    (tmp_path / "pyproject.toml").write_text("[project]")
    (tmp_path / "constraints.txt").write_text("a==1")
    venv = tmp_path / ".venv"
    monkeypatch.setattr(install, "ROOT", tmp_path)
    monkeypatch.setattr(install, "VENV", venv)
    monkeypatch.setattr(install, "PYTHON", venv / "bin" / "python")
    return tmp_path


@pytest.fixture
def pip_runs(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What pip was asked to do; the environment appears without one."""
    runs: list[tuple[str, ...]] = []

    def make_venv() -> None:
        install.PYTHON.parent.mkdir(parents=True)
        install.PYTHON.write_text("#!/bin/sh\n")
        install.PYTHON.chmod(0o755)

    monkeypatch.setattr(install, "pip", lambda *arguments: runs.append(arguments))
    monkeypatch.setattr(install, "make_venv", make_venv)
    return runs


def test_torch_comes_first_and_from_its_own_index_alone(pip_runs: list[tuple[str, ...]]) -> None:
    """The other packages come from where pip is set up to look, at the pinned versions."""
    install.install("run", "https://cpu.example/simple")
    torch, rest = pip_runs
    index = ("--index-url", "https://cpu.example/simple")
    assert torch == ("install", "--no-deps", install.TORCH, *index)
    assert rest == ("install", "-c", "constraints.txt", "-e", ".[worker,local]")


def test_a_second_run_does_not_start_pip_until_a_pin_changes(
    pip_runs: list[tuple[str, ...]], checkout: Path
) -> None:
    """Neither does another profile count as this one."""
    install.install("run", "")
    install.install("run", "")
    assert len(pip_runs) == 2
    (checkout / "constraints.txt").write_text("a==2")
    install.install("run", "")
    assert len(pip_runs) == 4
    install.install("dev", "")
    assert pip_runs[-1][-1] == ".[worker,local,dev]"


def test_an_installation_that_was_broken_off_is_done_again(
    pip_runs: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stamp is written last."""

    def fail(*arguments: str) -> None:
        raise subprocess.CalledProcessError(1, "pip")

    with monkeypatch.context() as patch:
        patch.setattr(install, "pip", fail)
        with pytest.raises(subprocess.CalledProcessError):
            install.install("run", "")
    install.install("run", "")
    assert len(pip_runs) == 2


def pip_wheels() -> list[Path]:
    """Where a Python or a Debian keeps pip's wheel."""
    package = importlib.util.find_spec("ensurepip")
    folders = (package.submodule_search_locations or []) if package else []
    return [*(Path(folder) / "_bundled" for folder in folders), install.SYSTEM_WHEELS]


def test_without_ensurepip_a_pip_wheel_of_the_system_is_enough(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real environment with a real pip, as on a Debian without python3-venv."""
    wheels = next((folder for folder in pip_wheels() if any(folder.glob("pip-*.whl"))), None)
    if wheels is None:
        pytest.skip("this machine has no wheel of pip lying around")
    really_works = install.works

    def without_ensurepip(command: list[str], cwd: Path = checkout) -> bool:
        missing = command[1:3] == ["-m", "venv"] and "--without-pip" not in command
        return not missing and "--python" not in command and really_works(command, cwd)

    monkeypatch.setattr(install, "works", without_ensurepip)
    monkeypatch.setattr(install, "SYSTEM_WHEELS", wheels)
    install.make_venv()
    assert really_works([str(install.PYTHON), "-m", "pip", "--version"])


def test_with_no_pip_anywhere_the_one_package_is_named(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Instead of a traceback of pip's."""
    monkeypatch.setattr(install, "works", lambda command, cwd=checkout: False)
    with pytest.raises(install.CannotInstall, match="python3-venv"):
        install.make_venv()


def test_an_old_python_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the version that is there and the one that is needed."""
    monkeypatch.setattr(sys, "version_info", (3, 10, 1))
    with pytest.raises(install.CannotInstall, match=r"3\.10 .*3\.11"):
        install.check_python()
