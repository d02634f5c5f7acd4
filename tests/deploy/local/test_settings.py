"""What `make up` reads, what its processes get, and the file that other shells source."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.cluster import Cluster
from deploy.local.folders import RunFolder
from deploy.local.s3_server import S3Server
from deploy.local.settings import (
    INSTALLED,
    BadSetting,
    UpSettings,
    cluster_settings,
    commands,
    inherited,
    read_procfile,
    read_settings,
    write_env_file,
)
from shared.errors import ConfigError

ROOT = Path(__file__).parents[3]


def test_without_variables_two_workers_and_one_gateway_run_until_stopped() -> None:
    """Make passes variables that were not given as empty ones."""
    assert read_settings({}) == UpSettings()
    assert read_settings({"WORKERS": "", "PORT": "", "ONCE": ""}) == UpSettings(workers=2, web=1)


def test_variables_are_read() -> None:
    """WORKERS=4 PORT=9000 ONCE=1."""
    settings = read_settings({"WORKERS": "4", "PORT": "9000", "ONCE": "1"})
    assert (settings.workers, settings.port, settings.once) == (4, 9000, True)


@pytest.mark.parametrize("env", [{"WORKERS": "0"}, {"PORT": "70000"}, {"WEB": "two"}])
def test_a_wrong_number_is_refused_by_name(env: dict[str, str]) -> None:
    """The message names the variable."""
    with pytest.raises(BadSetting, match=next(iter(env))):
        read_settings(env)


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


def test_this_projects_procfile_names_web_and_worker() -> None:
    """The two process kinds that the product has; a package, which has no Procfile, too."""
    commands = {"web": "python -m router", "worker": "python -m worker"}
    assert read_procfile(ROOT / "Procfile") == commands == INSTALLED


def test_comments_and_blank_lines_are_skipped_and_commands_keep_their_colons(
    tmp_path: Path,
) -> None:
    """Only the first colon divides name and command."""
    (tmp_path / "Procfile").write_text("# all\n\nweb:  serve --at host:80\n")
    assert read_procfile(tmp_path / "Procfile") == {"web": "serve --at host:80"}


@pytest.mark.parametrize("line", ["web", "web:", "a b: c", "web: x\nweb: y"])
def test_a_line_that_is_not_a_new_process_is_refused(tmp_path: Path, line: str) -> None:
    """The message names the line."""
    (tmp_path / "Procfile").write_text(line)
    with pytest.raises(ConfigError, match=r"line \d"):
        read_procfile(tmp_path / "Procfile")


def test_both_process_kinds_must_be_there(tmp_path: Path) -> None:
    """Each is run by a shell that becomes it."""
    path = tmp_path / "Procfile"
    path.write_text("web: w\nworker: x --y")
    assert commands(path) == {
        "router": ["sh", "-c", "exec w"],
        "worker": ["sh", "-c", "exec x --y"],
    }
    path.write_text("web: w")
    with pytest.raises(ConfigError, match="worker"):
        commands(path)


def test_a_package_without_a_procfile_has_the_same_commands(tmp_path: Path) -> None:
    """The file stays in the checkout."""
    assert read_procfile(tmp_path / "Procfile") == INSTALLED
