"""The file that other shells source."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deploy.up.environment import process_environment, stack_environment, write_env_file
from deploy.up.runfolder import RunFolder
from deploy.up.services import Services
from deploy.up.settings import UpSettings
from shared.repository import open_repository


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path, tmp_path)


def services(trusted: str | None) -> Services:
    env = {"REDIS_URL": "redis://r", "MODEL_REPOSITORY": "s3://models"}
    return Services(open_repository("file:///models"), trusted, env)


def test_only_our_own_repository_is_trusted_with_code(folder: RunFolder) -> None:
    """One that was named by the user is trusted when the user says so."""
    ours = stack_environment(UpSettings(), folder, services("s3://models"), {})
    assert ours["WARMROUTE_TRUST_CODE"] == "s3://models"
    named = stack_environment(UpSettings(), folder, services(None), {})
    assert "WARMROUTE_TRUST_CODE" not in named
    given = {"WARMROUTE_TRUST_CODE": "s3://a"}
    told = stack_environment(UpSettings(), folder, services(None), given)
    assert told["WARMROUTE_TRUST_CODE"] == "s3://a"


def test_the_users_settings_win_over_the_stacks_defaults(folder: RunFolder) -> None:
    """But an empty variable is none, and what is not a setting is not taken over."""
    given = {"WARMROUTE_DISK_CACHE": "/big", "WARMROUTE_CELL": "", "AWS_SECRET_ACCESS_KEY": "s"}
    env = stack_environment(UpSettings(), folder, services(None), given)
    assert (env["WARMROUTE_DISK_CACHE"], env["WARMROUTE_CELL"]) == ("/big", "warmroute")
    assert "AWS_SECRET_ACCESS_KEY" not in env


def test_processes_find_the_python_that_runs_the_stack_first(folder: RunFolder) -> None:
    """The Procfile says `python`."""
    env = process_environment({}, {"PATH": "/usr/bin"})
    run = subprocess.run(["sh", "-c", "command -v python"], env=env, capture_output=True, text=True)
    assert Path(run.stdout.strip()).parent == Path(sys.executable).parent


def test_a_shell_reads_back_every_value_as_it_was(tmp_path: Path) -> None:
    """Quotes, dollars and spaces included."""
    path = tmp_path / "env"
    values = {"REDIS_URL": "redis://:p'a $$w\"d@h:1/0", "EMPTY": ""}
    write_env_file(path, values)
    script = f'set -a; . {path}; set +a; printf "%s|%s" "$REDIS_URL" "$EMPTY"'
    run = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=True)
    assert run.stdout == f"{values['REDIS_URL']}|"


def test_only_its_owner_may_read_it_even_where_a_looser_one_was(tmp_path: Path) -> None:
    """It holds passwords."""
    path = tmp_path / "env"
    path.write_text("old")
    path.chmod(0o644)
    write_env_file(path, {"A": "1"})
    assert path.stat().st_mode & 0o777 == 0o600
