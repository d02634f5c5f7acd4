"""Which workers run on this host, of all cells and all users that share its memory folder.

Each worker has a file, locked for as long as its process lives: the kernel frees it at its death,
however it dies, so nothing is ever stale.

    <folder>/warmroute-workers-<uid>/<name>    its claims as JSON, readable by all

Only a user's own workers are believed. Of others it counts that they have workers: what they write
can cost this user his equal part at most (`host_share.py`).
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from shared.owned_folder import NotOwned, check_owned, make_owned, open_owned

PREFIX = "warmroute-workers-"
MOST_FILES, MOST_BYTES = 1024, 4096  # what is read of others is bounded
_NEW = ".new"
_NAME = re.compile(r"[0-9a-f]{16}")


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker takes of its host. `levels`: identities of the memory that it shares.
    `wish`: share of that memory that it would take alone; `fixed`: bytes that its settings say
    instead; `overhead`: bytes that its process takes beside its models. `disk`: identity of the
    cache's file system, `root` of its folder; `disk_fixed`: bytes that its settings say."""

    levels: list[str] = []
    wish: float = 0.0
    fixed: int = 0
    overhead: int = 0
    disk: str = ""
    root: str = ""
    disk_fixed: int = 0


_CLAIMS = msgspec.json.Decoder(Claims)


@dataclass(frozen=True)
class Peer:
    """A live worker of this host."""

    user: int
    claims: Claims


class HostRegistry:
    """This worker's place among the workers of the host."""

    def __init__(self, folder: Path) -> None:
        """OSError if the folder cannot be used."""
        self._fd: int | None = None
        self._folder = folder
        self._own = make_owned(folder / f"{PREFIX}{os.geteuid()}", mode=0o755)
        self._name = secrets.token_hex(8)

    def join(self, claims: Claims) -> None:
        """Appear among the workers, until `leave` or the death of this process."""
        for path in self._own.glob(f"*{_NEW}"):  # of one that died before it had its name
            _read(path, os.geteuid())
        while not self._appear(claims):
            pass

    def __del__(self) -> None:
        self.leave()

    def leave(self) -> None:
        """Give the place up; may be called twice."""
        if self._fd is not None:
            with suppress(OSError):
                (self._own / self._name).unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = None

    def peers(self) -> list[Peer]:
        """The other live workers. Blocks for some 20 us each."""
        found: list[Peer] = []
        for folder, user in self._folders():
            for path in _files(folder):
                if path.name != self._name and (peer := _read(path, user)):
                    found.append(peer)
        return found

    def _appear(self, claims: Claims) -> bool:
        """False if another worker took the file for a dead one's before it was locked."""
        fresh = self._own / f"{self._name}{_NEW}"
        fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            # Locked before it has its name: what has a name and no lock belongs to a dead worker.
            fcntl.flock(fd, fcntl.LOCK_EX)
            os.write(fd, msgspec.json.encode(claims))
            fresh.rename(self._own / self._name)
        except BaseException as error:
            os.close(fd)
            if isinstance(error, FileNotFoundError):
                return False
            raise
        self._fd = fd
        return True

    def _folders(self) -> Iterator[tuple[Path, int]]:
        with suppress(OSError):
            for path in sorted(self._folder.glob(f"{PREFIX}*")):
                user = path.name.removeprefix(PREFIX)
                with suppress(OSError):
                    if user.isdecimal() and path.lstat().st_uid == int(user):
                        if int(user) == os.geteuid():
                            check_owned(path)
                        yield path, int(user)


def _files(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry, _ in zip(entries, range(MOST_FILES), strict=False)]
    except OSError:
        return []
    return [folder / name for name in sorted(names) if _NAME.fullmatch(name)]


def _read(path: Path, user: int) -> Peer | None:
    """The worker of a file; None if it is dead: the file of one of this user's own is removed."""
    try:
        fd = open_owned(path, user)
    except (FileNotFoundError, NotOwned):
        return None
    try:
        if _is_dead(fd):
            if user == os.geteuid():
                path.unlink(missing_ok=True)
            return None
        return Peer(user, _CLAIMS.decode(os.read(fd, MOST_BYTES)))
    except (OSError, msgspec.MsgspecError, RecursionError):
        return Peer(user, Claims())
    finally:
        os.close(fd)


def _is_dead(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
