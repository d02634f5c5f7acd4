"""The Procfile as data."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.up.procfile import BadProcfile, ProcessSpec, formation, read_procfile
from deploy.up.serve import INSTALLED

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
def test_what_is_no_new_process_is_refused_with_its_line(tmp_path: Path, line: str) -> None:
    """The message names the line."""
    (tmp_path / "Procfile").write_text(line)
    with pytest.raises(BadProcfile, match=r"line \d"):
        read_procfile(tmp_path / "Procfile")


def test_formation_numbers_the_processes_of_each_kind() -> None:
    """worker=2 is worker.1 and worker.2, with the same environment."""
    assert list(formation({"worker": "w"}, {"worker": 2}, {"A": "1"})) == [
        ProcessSpec("worker.1", "w", {"A": "1"}),
        ProcessSpec("worker.2", "w", {"A": "1"}),
    ]
    with pytest.raises(BadProcfile, match="cron"):
        list(formation({"worker": "w"}, {"cron": 1}, {}))
