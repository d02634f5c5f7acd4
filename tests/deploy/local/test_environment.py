"""What the processes of `make up` get, and the file that other shells source."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.cluster import Cluster
from deploy.local.environment import cluster_settings, inherited, write_env_file
from deploy.local.folders import RunFolder
from deploy.local.s3_server import S3Server
from deploy.local.settings import UpSettings


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path, tmp_path)


def test_only_our_own_repository_is_trusted_with_code(tmp_path: Path) -> None:
    """One that was named by the user is trusted only if the user says so."""
    store = S3Server("http://h:1", "key", "secret", "models", "r", None, {})  # type: ignore[arg-type]
    ours = Cluster(tmp_path, redis_url="redis://r", repository=store).environment
    assert ours["WARMROUTE_TRUST_CODE"] == "s3://models"
    named = Cluster(tmp_path, redis_url="redis://r", repository="s3://theirs")
    assert "WARMROUTE_TRUST_CODE" not in named.environment
    given = {"WARMROUTE_TRUST_CODE": "s3://a"}
    named = Cluster(tmp_path, redis_url="redis://r", repository="s3://theirs", settings=given)
    assert named.environment["WARMROUTE_TRUST_CODE"] == "s3://a"


def test_the_users_settings_win_over_the_defaults(folder: RunFolder) -> None:
    """An empty variable counts as absent, and what is not a setting is not taken over."""
    given = {"WARMROUTE_DISK_CACHE": "/big", "WARMROUTE_CELL": "", "AWS_SECRET_ACCESS_KEY": "s"}
    env = cluster_settings(UpSettings(), folder, given)
    assert (env["WARMROUTE_DISK_CACHE"], env["WARMROUTE_CELL"]) == ("/big", "warmroute")
    assert "AWS_SECRET_ACCESS_KEY" not in env


def test_the_users_s3_endpoint_is_for_the_users_repository(folder: RunFolder) -> None:
    """The embedded store has an endpoint of its own."""
    given = {"S3_ENDPOINT_URL": "http://theirs"}
    assert "S3_ENDPOINT_URL" not in cluster_settings(UpSettings(), folder, given)
    named = UpSettings(model_repository="s3://theirs")
    assert cluster_settings(named, folder, given)["S3_ENDPOINT_URL"] == "http://theirs"


def test_processes_find_the_python_that_runs_the_cluster_first() -> None:
    """The Procfile says `python`."""
    env = inherited({"PATH": "/usr/bin"})
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
