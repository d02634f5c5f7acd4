"""Folders in places that all users of a host share: used only if they are this user's own.

In /tmp and /dev/shm the first process to come owns a name, and may have made it a link to any other
place. So a folder is used only if it belongs to the user of this process and other users may not
write to it, and a link to one only if this user has made the link.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class NotOwned(PermissionError):
    """The place is taken: by a link, a file, or a folder that others own or may write to."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: {why}")


def make_owned(path: Path, mode: int = 0o700) -> Path:
    """Make the folder (with its parents) unless it is there; NotOwned if it is not this user's own,
    another OSError if it cannot be made."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        path.mkdir(mode=mode)
    except FileExistsError:
        check_owned(path)
    return path


def check_owned(path: Path) -> None:
    """NotOwned unless `path` is a folder that only this user may change, or his link to one."""
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode) and found.st_uid == os.geteuid():
        found = path.stat()  # to a larger disk, say
    if not stat.S_ISDIR(found.st_mode):
        raise NotOwned(path, "it is a file or another user's link, want a folder")
    if found.st_uid != os.geteuid():
        raise NotOwned(path, f"it belongs to user {found.st_uid}, this process is {os.geteuid()}")
    if found.st_mode & OTHERS_WRITE:
        raise NotOwned(path, "other users may write to it: chmod go-w")


def open_owned(path: Path, owner: int | None = None) -> int:
    """A descriptor to read a regular file that belongs to `owner` (default: this user). NotOwned if
    it is a link, a device, another user's, or others may write to it; FileNotFoundError."""
    # Without O_NONBLOCK, opening a planted pipe would wait for ever.
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise NotOwned(path, os.strerror(error.errno or 0)) from error
    found = os.fstat(fd)
    ours = found.st_uid == (os.geteuid() if owner is None else owner)
    if stat.S_ISREG(found.st_mode) and ours and not found.st_mode & OTHERS_WRITE:
        return fd
    os.close(fd)
    raise NotOwned(path, "it is not a file of this user's own")
