"""Runs beside each other get folders of their own."""

from __future__ import annotations

from pathlib import Path

from deploy.local.folders import run_folder, state_folder


def test_the_first_run_owns_the_state_folder_and_the_next_a_numbered_one(tmp_path: Path) -> None:
    """The disk cache is shared."""
    with run_folder(tmp_path) as first, run_folder(tmp_path) as second:
        assert (first.own, second.own) == (tmp_path, tmp_path / "run-2")
        assert first.env_file != second.env_file
        assert first.cache == second.cache


def test_a_folder_is_free_again_when_its_run_has_ended(tmp_path: Path) -> None:
    """Nothing piles up, and a run finds what the last one left."""
    with run_folder(tmp_path):
        pass
    with run_folder(tmp_path) as again:
        assert again.own == tmp_path


def test_a_package_keeps_no_state_where_it_is_installed(tmp_path: Path) -> None:
    """A checkout does."""
    code, here = tmp_path / "code", tmp_path / "here"
    code.mkdir()
    assert state_folder(code, here) == here / ".warmroute"
    (code / "pyproject.toml").touch()
    assert state_folder(code, here) == code / ".warmroute"
