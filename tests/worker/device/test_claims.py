"""One GPU per process of a host (I35): the kernel holds the lock, and frees it with the process."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import ConfigError
from worker.device.claims import Claim, claim_one, lock
from worker.device.inventory import Gpu

# Claims GPU-0, writes a byte to standard output and waits; `fork` leaves a child that holds it too.
HOLDER = """
import sys, time
from pathlib import Path
from worker.device.claims import claim_one
from worker.device.inventory import Gpu
claim = claim_one([Gpu(0, "GPU-0", "H100")], Path(sys.argv[1]))
print("got" if claim else "none", flush=True)
sys.stdin.read()
"""


def host(count: int) -> list[Gpu]:
    return [Gpu(n, f"GPU-{n}", "NVIDIA H100") for n in range(count)]


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has GPU-0."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == "got\n"
    yield process
    process.kill()
    process.communicate()


def claimed(found: Claim | None) -> str | None:
    return found.gpu.uuid if found else None


def test_eight_workers_take_eight_gpus_and_the_ninth_gets_none(tmp_path: Path) -> None:
    """Whatever their users and cells: each claim opens the file for itself."""
    found = [claim_one(host(8), tmp_path) for _ in range(9)]
    assert [claimed(one) for one in found] == [*(f"GPU-{n}" for n in range(8)), None]
    found[3].release()
    assert claimed(claim_one(host(8), tmp_path)) == "GPU-3"


def test_workers_that_start_together_get_one_each(tmp_path: Path) -> None:
    """Twenty threads, eight GPUs: the kernel decides."""
    found: list[str | None] = []
    claims: list[Claim | None] = []
    start = threading.Barrier(20)

    def one() -> None:
        start.wait()
        claims.append(claim_one(host(8), tmp_path))

    threads = [threading.Thread(target=one) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = sorted(claim.gpu.uuid for claim in claims if claim)
    assert found == [gpu.uuid for gpu in host(8)]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_dead_holder_s_gpu_is_free_at_once(
    holder: subprocess.Popen[str], tmp_path: Path, end: signal.Signals
) -> None:
    """Nothing has to run out."""
    assert claim_one(host(1), tmp_path) is None
    holder.send_signal(end)
    holder.wait()
    assert claimed(claim_one(host(1), tmp_path)) == "GPU-0"


def test_a_process_that_inherits_it_holds_it_too(tmp_path: Path) -> None:
    """A device process that drains alone still uses the GPU."""
    claim = claim_one(host(1), tmp_path)
    assert claim is not None
    heir = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE,
        pass_fds=[claim.file],
    )  # fmt: skip
    claim.release()
    assert claim_one(host(1), tmp_path) is None
    heir.communicate()
    assert claimed(claim_one(host(1), tmp_path)) == "GPU-0"


def test_other_processes_of_the_parent_do_not_inherit_it(tmp_path: Path) -> None:
    """Only those that it is passed to."""
    claim = claim_one(host(1), tmp_path)
    assert claim is not None and not os.get_inheritable(claim.file)


def test_a_file_that_was_deleted_is_claimed_again(tmp_path: Path) -> None:
    """Something cleaned the folder: the holder keeps its GPU."""
    claim = claim_one(host(1), tmp_path)
    assert claim is not None and claim.keep()
    (file,) = tmp_path.iterdir()
    file.unlink()
    assert claim.keep()
    assert claim_one(host(1), tmp_path) is None


def test_a_file_that_was_replaced_and_locked_is_a_lost_gpu(tmp_path: Path) -> None:
    """Two would use it else."""
    claim = claim_one(host(1), tmp_path)
    (file,) = tmp_path.iterdir()
    file.unlink()
    assert claim is not None
    assert claimed(claim_one(host(1), tmp_path)) == "GPU-0"
    assert not claim.keep()


def test_any_user_can_lock_the_file_and_no_user_needs_to_write_it(tmp_path: Path) -> None:
    """Whatever the umask of the first."""
    before = os.umask(0o077)
    try:
        claim_one(host(1), tmp_path)
    finally:
        os.umask(before)
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o444
    assert file.read_bytes() == b""


def plant_link(path: Path) -> None:
    target = path.with_name("target")
    target.write_text("mine")
    path.symlink_to(target)


def plant_dangling(path: Path) -> None:
    path.symlink_to(path.with_name("made-by-the-victim"))


def plant_pipe(path: Path) -> None:
    os.mkfifo(path)


def plant_folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("plant", [plant_link, plant_dangling, plant_pipe, plant_folder])
def test_what_another_user_planted_is_refused_by_name(tmp_path: Path, plant) -> None:
    """No link is followed, nothing is made at its end, and a pipe is not waited for."""
    path = tmp_path / "warmroute-GPU-0.lock"
    plant(path)
    with pytest.raises(ConfigError, match=r"GPU claim: .*warmroute-GPU-0\.lock"):
        claim_one(host(1), tmp_path)
    assert not (tmp_path / "made-by-the-victim").exists()


def test_a_name_of_the_driver_cannot_leave_the_folder(tmp_path: Path) -> None:
    """Older drivers call an instance MIG-GPU-<uuid>/<instance>/<instance>."""
    folder = tmp_path / "locks"
    folder.mkdir()
    claim = claim_one([Gpu(0, "MIG-GPU-1/../../2", "H100")], folder)
    assert claim is not None
    assert [path.parent for path in tmp_path.rglob("*.lock")] == [folder]


def test_a_file_replaced_between_open_and_lock_is_not_taken_for_the_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock of a file that is no longer there keeps no other process out."""
    import fcntl

    path, real, turns = tmp_path / "a.lock", fcntl.flock, []

    def flock(file: int, how: int) -> None:
        if not turns:
            turns.append(1)
            path.unlink()
        real(file, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    file = lock(path)
    assert file is not None
    assert os.fstat(file).st_ino == path.stat().st_ino
