"""The folder of a cell's shared memory on this host: made by the first that needs it, removed by
the last that leaves.

    <folder>/warmroute-<uid>-<hash of cell and Redis's address>/host

The file `host` holds a random name, equal where memory is shared, and is locked by each process
that uses the folder. The kernel releases the lock of a process that dies, so the next one to start
finds the folders that are not in use, of any cell. The hash is of no secret, since names can be
listed.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from shared.owned_folder import NotOwned, make_owned, open_owned

log = logging.getLogger(__name__)

HOST = "host"
_ATTEMPTS, _PAUSE_S = 50, 0.02  # while another process removes the folder


class SharedRoot:
    """The folder, in use until `leave` or the end of this process. `host`: its random name."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self.host = os.pread(fd, 64, 0).decode(errors="replace")
        self._fd: int | None = fd

    def leave(self) -> None:
        """Use it no longer; the last one removes it. May be called twice."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            _remove_unused(self.path, fd)


def open_root(folder: Path, cell: str, redis_url: str) -> SharedRoot:
    """The folder of a cell below `folder`; OSError if it cannot be made, or is not this user's."""
    mark = hashlib.sha256(f"{cell} {address_of(redis_url)}".encode()).hexdigest()[:12]
    own = f"warmroute-{os.geteuid()}-"
    _remove_dead(folder, own)
    path = folder / f"{own}{mark}"
    for _ in range(_ATTEMPTS):
        if (fd := _use(path)) is not None:
            return SharedRoot(path, fd)
        time.sleep(_PAUSE_S)
    raise NotOwned(path, "another process keeps it locked")


def address_of(redis_url: str) -> str:
    """Where Redis is, without user and password."""
    url = urlsplit(redis_url)
    database = [value for name, value in parse_qsl(url.query) if name == "db"]
    return f"{url.hostname}:{url.port}{url.path} {database}"


def _use(path: Path) -> int | None:
    """The locked file of a folder; None if another process is removing it."""
    if not path.parent.is_dir():
        raise FileNotFoundError(path.parent)
    make_owned(path)
    try:
        _write_host(path)
        fd = open_owned(path / HOST)
    except FileNotFoundError:
        return None
    with suppress(BlockingIOError):
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        if _is_there(path, fd):
            return fd
    os.close(fd)
    return None


def _write_host(path: Path) -> None:
    fresh = path / f"{HOST}-{secrets.token_hex(8)}"
    if (path / HOST).exists():
        return
    fresh.write_text(secrets.token_hex(8))
    try:
        os.link(fresh, path / HOST)  # atomic: one of several that start together wins
    except FileExistsError:
        pass
    finally:
        with suppress(OSError):
            fresh.unlink()


def _is_there(path: Path, fd: int) -> bool:
    """Whether the file that was opened still has its name."""
    with suppress(FileNotFoundError):
        return os.path.samestat((path / HOST).lstat(), os.fstat(fd))
    return False


def _remove_dead(folder: Path, own: str) -> None:
    for path in folder.glob(f"{own}*"):
        try:
            fd = open_owned(path / HOST)
        except FileNotFoundError:
            with suppress(OSError):  # it has other files: of an older release
                path.rmdir()
        except OSError:
            continue
        else:
            _remove_unused(path, fd)


def _remove_unused(path: Path, fd: int) -> None:
    """Remove a folder if no other process uses it, and close its file."""
    try:
        with suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_there(path, fd):
                shutil.rmtree(path, ignore_errors=True)
                log.debug("removed %s", path)
    finally:
        os.close(fd)
