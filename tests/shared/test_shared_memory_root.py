"""The folder of shared memory: who may use it, and that nothing of it stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shared import shared_memory_root
from shared.owned_folder import NotOwned, open_owned
from shared.shared_memory_root import HOST, SharedRoot, address_of, open_root
from tests.helpers.wait import block_until

URL = "redis://:secret@localhost:6379/3"


def opened(tmp_path: Path, cell: str = "cell", url: str = URL) -> SharedRoot:
    return open_root(tmp_path, cell, url)


def left(tmp_path: Path) -> list[Path]:
    return list(tmp_path.iterdir())


def test_the_last_that_leaves_removes_it(tmp_path: Path) -> None:
    """With all that is in it; until then its name stays the same."""
    one, two = opened(tmp_path), opened(tmp_path)
    assert one.path == two.path and one.host == two.host != ""
    (one.path / "gw-1").mkdir()
    one.leave()
    one.leave()
    assert two.path.is_dir()
    two.leave()
    assert left(tmp_path) == []


def test_its_name_holds_nothing_secret(tmp_path: Path) -> None:
    """A name that can be listed must not let a password be guessed; another Redis has another."""
    urls = ["redis://localhost:6379/3", "redis://u:p@localhost:6379/3?password=x"]
    assert {opened(tmp_path, url=url).path for url in (URL, *urls)} == {opened(tmp_path).path}
    others = ["redis://localhost:6380/3", "redis://localhost:6379/4", "unix:///a?db=1", "unix:///a"]
    names = {address_of(url) for url in (URL, *others)}
    assert len(names) == 5 and not any("secret" in name for name in names)
    assert opened(tmp_path, "other").path != opened(tmp_path).path


def test_folders_of_the_dead_go_with_the_next_start(tmp_path: Path) -> None:
    """Of any cell; those in use, and those of a release that locks nothing, stay."""
    code = (
        "import time; from pathlib import Path; from shared.shared_memory_root import open_root\n"
        f"r = open_root(Path({str(tmp_path)!r}), 'dead', 'redis://a'); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code])
    try:
        block_until(lambda: list(tmp_path.glob(f"*/{HOST}")), 30)
        (dead,) = left(tmp_path)
        living = opened(tmp_path)
        assert dead.exists()
        os.kill(child.pid, signal.SIGKILL)
    finally:
        child.kill()
        child.wait()
    older = tmp_path / f"warmroute-{os.geteuid()}-0123456789ab"
    older.mkdir()
    (older / "host-id").touch()
    empty = older.with_name(older.name[:-1])
    empty.mkdir()
    third = opened(tmp_path, "third")
    assert set(left(tmp_path)) == {living.path, third.path, older}


def test_one_that_starts_while_the_last_leaves_has_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has opened may be gone before it is locked: it looks again."""
    first, late = opened(tmp_path), []

    def open_then_leave(path: Path) -> int:
        fd = open_owned(path)
        if not late:
            late.append(first.leave())
        return fd

    monkeypatch.setattr(shared_memory_root, "open_owned", open_then_leave)
    monkeypatch.setattr(shared_memory_root, "_remove_dead", lambda folder, own: None)
    second = opened(tmp_path)
    assert (second.path / HOST).read_text() == second.host != first.host


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's folder")
@pytest.mark.parametrize("link", [True, False])
def test_what_another_user_planted_is_not_used(tmp_path: Path, link: bool) -> None:
    """A link would have tensors written where it leads."""
    first = opened(tmp_path)
    path = first.path
    first.leave()
    path.symlink_to(tmp_path) if link else (path / "full").mkdir(parents=True)
    os.chown(path, 12345, 12345, follow_symlinks=False)
    with pytest.raises(NotOwned):
        opened(tmp_path)


def test_without_its_folder_there_is_none(tmp_path: Path) -> None:
    """It is not made: the place for it is a setting."""
    with pytest.raises(FileNotFoundError):
        opened(tmp_path / "nowhere")
