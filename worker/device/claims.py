"""Claims of GPUs: a lock of the host's kernel per GPU, so that no two processes of a host use one.

The kernel frees a lock when the last process that holds it has ended, however it ended. All users
and all cells of a host see the same locks: one file per GPU in shared memory, which, unlike /tmp,
no service manager replaces by a private folder. Such a file is never written, so any user may make
it and every user may lock it. Each container has a folder of its own, unless it is shared: there a
GPU has to be given to one container only.

A file can be deleted, and another made under its name. So a holder compares the two now and then
(`keep`), and locks the new one: the holder of the file that is there has the GPU.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from shared.errors import ConfigError
from worker.device.inventory import Gpu

FOLDER = Path("/dev/shm")
TRIES = 20  # of a file that others make, delete and replace meanwhile
# No O_CREAT for a file that exists: systems refuse that for another user's file in such a folder.
# No link is followed, and no pipe is waited for.
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Claim:
    """A GPU that this process has, and each process that inherits `file`."""

    def __init__(self, gpu: Gpu, path: Path, file: int) -> None:
        self.gpu = gpu
        self.file = file
        self._path = path

    def keep(self) -> bool:
        """Whether the GPU is still this process's. If the file is gone or was replaced, the one
        that is there is locked instead; False if another process has locked it."""
        if _is_at(self._path, self.file):
            return True
        with suppress(ConfigError):
            if (file := lock(self._path)) is not None:
                os.dup2(file, self.file, inheritable=False)
                os.close(file)
                return True
        return False

    def release(self) -> None:
        """Give it up, unless another process has inherited it."""
        os.close(self.file)


def claim_one(gpus: Sequence[Gpu], folder: Path = FOLDER) -> Claim | None:
    """Claim the first of `gpus` that is free; None if other processes have all of them. ConfigError
    if a file cannot be locked."""
    for gpu in gpus:
        path = folder / f"warmroute-{re.sub(r'[^A-Za-z0-9-]', '_', gpu.uuid)}.lock"
        if (file := lock(path)) is not None:
            return Claim(gpu, path, file)
    return None


def lock(path: Path) -> int | None:
    """A descriptor that holds the lock of the file at `path`, which is made if it is missing; None
    if another process holds it. ConfigError if it is not a plain file that can be opened."""
    for _ in range(TRIES):
        file = _open(path)
        if file is None:
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return None
        if _is_at(path, file):
            return file
        os.close(file)  # it was replaced before it was locked
    raise ConfigError(f"GPU claim: {path} is replaced again and again by another process")


def _open(path: Path) -> int | None:
    """A descriptor of the file; None if it came or went meanwhile."""
    try:
        try:
            file = os.open(path, _OPEN)
        except FileNotFoundError:
            file = os.open(path, _OPEN | os.O_CREAT | os.O_EXCL, 0o444)
            os.fchmod(file, 0o444)  # whatever the umask: other users have to open it
    except FileExistsError:
        return None
    except OSError as error:
        why = "it is a link" if error.errno == errno.ELOOP else error.strerror
        raise ConfigError(f"GPU claim: {path} cannot be opened: {why}") from error
    if stat.S_ISREG(os.fstat(file).st_mode):
        return file
    os.close(file)
    raise ConfigError(f"GPU claim: {path} is not a plain file: delete it")


def _is_at(path: Path, file: int) -> bool:
    """Whether the open `file` is the one at `path`."""
    try:
        there, held = os.lstat(path), os.fstat(file)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)
