"""Who runs on this host: seen by all, gone with its process; what others plant does not count."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.owned_folder import NotOwned
from tests.helpers.wait import block_until
from worker.device.host_registry import PREFIX, Claims, HostRegistry, Peer

CLAIMS = Claims(levels=["machine"], wish=0.5, overhead=7)


@pytest.fixture
def one(tmp_path: Path) -> Iterator[HostRegistry]:
    registry = HostRegistry(tmp_path)
    yield registry
    registry.leave()


def own_folder(place: Path) -> Path:
    return place / f"{PREFIX}{os.geteuid()}"


def test_workers_see_each_other_and_not_themselves(one: HostRegistry, tmp_path: Path) -> None:
    """From when they join until they leave."""
    other = HostRegistry(tmp_path)
    other.join(CLAIMS)
    assert one.peers() == [Peer(os.geteuid(), CLAIMS)] and other.peers() == []
    one.join(Claims())
    assert other.peers() == [Peer(os.geteuid(), Claims())]
    other.leave()
    other.leave()
    assert one.peers() == []


def test_a_killed_worker_is_gone_at_once(one: HostRegistry, tmp_path: Path) -> None:
    """The kernel frees its place, and the next to look removes its file."""
    code = (
        "import sys, time; from pathlib import Path\n"
        "from worker.device.host_registry import *\n"
        f"r = HostRegistry(Path({str(tmp_path)!r})); r.join(Claims(wish=0.25)); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code])
    try:
        block_until(lambda: [peer.claims.wish for peer in one.peers()] == [0.25], 30)
        os.kill(child.pid, signal.SIGKILL)
    finally:
        child.kill()
        child.wait()
    assert one.peers() == []
    assert list(own_folder(tmp_path).iterdir()) == []


def test_one_that_died_before_it_had_a_name_is_cleaned_up(tmp_path: Path) -> None:
    """By the next that joins."""
    registry = HostRegistry(tmp_path)
    left = own_folder(tmp_path) / "0123456789abcdef.new"
    left.touch()
    registry.join(CLAIMS)
    assert not left.exists()
    registry.leave()


def test_an_open_folder_is_not_used(tmp_path: Path) -> None:
    """Planted by another user before the first worker came."""
    own_folder(tmp_path).mkdir()
    own_folder(tmp_path).chmod(0o777)
    with pytest.raises(NotOwned, match="other users may write"):
        HostRegistry(tmp_path)


@pytest.mark.parametrize("kind", ["fifo", "link", "folder", "garbage", "unlocked"])
def test_planted_files_neither_hang_nor_count(one: HostRegistry, tmp_path: Path, kind: str) -> None:
    """Only a locked file of its owner counts."""
    path = own_folder(tmp_path) / "0123456789abcdef"
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "link":
            path.symlink_to("/etc/passwd")
        case "folder":
            path.mkdir()
        case "garbage":
            path.with_name("garbage").write_text("{")
        case "unlocked":
            path.write_text('{"wish": 0.5}')
    (tmp_path / f"{PREFIX}0x1").mkdir()
    (tmp_path / f"{PREFIX}{os.geteuid() + 1}").mkdir()  # in whose name it is not
    assert one.peers() == []


def test_garbage_of_a_live_worker_counts_as_one_that_claims_nothing(
    one: HostRegistry, tmp_path: Path
) -> None:
    """A worker of a later release, say."""
    other = HostRegistry(tmp_path)
    other.join(CLAIMS)
    (file,) = own_folder(tmp_path).iterdir()
    file.write_text("[" * 10_000)
    assert one.peers() == [Peer(os.geteuid(), Claims())]
    other.leave()


def test_a_worker_that_was_dropped_without_leaving_is_gone(
    one: HostRegistry, tmp_path: Path
) -> None:
    """As where many are made in one process."""
    other = HostRegistry(tmp_path)
    other.join(CLAIMS)
    assert one.peers()
    del other
    assert one.peers() == []
