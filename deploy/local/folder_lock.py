"""One server at a time on a folder, whatever became of the process that started it.

The lock is on an open file that the server inherits, so it is held until the server itself ends:
two servers writing one append-only file would destroy it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import ConfigError

_FILE = "lock"


@contextmanager
def folder_lock(folder: Path) -> Iterator[int]:
    """Lock `folder` (made if need be); gives the descriptor to pass to the server.

    ConfigError if a server still runs on it.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd = os.open(folder / _FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"{folder}: another server is running on this folder") from error
        yield fd
    finally:
        os.close(fd)
