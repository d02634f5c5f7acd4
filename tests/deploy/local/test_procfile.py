"""The Procfile as data."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local.environment import INSTALLED, commands, read_procfile
from shared.errors import ConfigError

ROOT = Path(__file__).parents[3]


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
