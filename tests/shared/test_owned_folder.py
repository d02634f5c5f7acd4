"""A place that all users share is used only where it is this user's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shared.owned_folder import NotOwned, check_owned, make_owned, open_owned

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes what belongs to another user")
ANOTHER = 12345


def test_it_is_made_with_its_parents_for_this_user_alone(tmp_path: Path) -> None:
    """And taken as it is the next time."""
    made = make_owned(tmp_path / "a" / "b")
    assert made.stat().st_mode & 0o777 == 0o700
    assert make_owned(made) == made


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_others_must_not_write_to_it(tmp_path: Path, mode: int) -> None:
    """Nor may this user's group."""
    path = make_owned(tmp_path / "a")
    path.chmod(mode)
    with pytest.raises(NotOwned, match="chmod go-w"):
        make_owned(path)


def test_a_link_of_ones_own_is_followed_to_a_folder_of_ones_own(tmp_path: Path) -> None:
    """A cache on a larger disk; what it leads to is checked all the same."""
    path, target = tmp_path / "link", make_owned(tmp_path / "a")
    path.symlink_to(target)
    check_owned(path)
    target.chmod(0o777)
    with pytest.raises(NotOwned):
        check_owned(path)
    (tmp_path / "file").touch()
    with pytest.raises(NotOwned, match="want a folder"):
        make_owned(tmp_path / "file")


@only_root
def test_what_another_user_has_made_is_not_used(tmp_path: Path) -> None:
    """A folder, a link to one of this user's own, and a file."""
    folder, link, file = make_owned(tmp_path / "a"), tmp_path / "link", tmp_path / "file"
    link.symlink_to(make_owned(tmp_path / "ours"))
    file.write_text("x")
    for path in (folder, link, file):
        os.chown(path, ANOTHER, ANOTHER, follow_symlinks=False)
    for path in (folder, link):
        with pytest.raises(NotOwned):
            make_owned(path)
    with pytest.raises(NotOwned):
        open_owned(file)
    os.close(open_owned(file, owner=ANOTHER))


def test_only_a_regular_file_is_opened(tmp_path: Path) -> None:
    """And a pipe does not make the process wait."""
    file, link, pipe = tmp_path / "file", tmp_path / "link", tmp_path / "pipe"
    file.write_text("x")
    link.symlink_to(file)
    os.mkfifo(pipe)
    for path in (link, pipe, tmp_path):
        with pytest.raises(NotOwned):
            open_owned(path)
    with pytest.raises(FileNotFoundError):
        open_owned(tmp_path / "nothing")
    os.close(open_owned(file))
    file.chmod(0o666)
    with pytest.raises(NotOwned):
        open_owned(file)
