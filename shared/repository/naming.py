"""Files that appear whole, under a name that no other has, or not at all."""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from shared.repository.disk import disk_errors

ABANDONED_S = 24 * 3600.0  # a copy this old was left by a publisher that died
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
# What a file system without a feature answers.
_NOT_OFFERED = {
    errno.EPERM, errno.EMLINK, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP,
}  # fmt: skip


@contextmanager
def partial_in(folder: Path) -> Iterator[Path]:
    """A name in `folder` to write to, that no reader looks at. What is still there at the end is
    removed, if that is possible: a failure to clean up is not the error to report."""
    with disk_errors("model repository"):
        folder.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder)
    path = folder / secrets.token_hex(16)
    try:
        yield path
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def name_if_free(partial: Path, target: Path) -> bool:
    """Give a written file its name, in one step; False if another file has it. By a hard link, or
    by a rename that replaces nothing, or, where neither is offered, by a copy that a reader may
    see half-written for a moment. OSError."""
    for way in (os.link, _rename, _copy):
        try:
            way(partial, target)
            return True
        except FileExistsError:
            return False
        except OSError as error:
            if way is _copy or error.errno not in _NOT_OFFERED:
                raise
    return False


def _rename(partial: Path, target: Path) -> None:
    """Rename, but never over another file."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:  # not Linux
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    names = os.fsencode(partial), os.fsencode(target)
    if call(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_NOREPLACE):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _copy(partial: Path, target: Path) -> None:
    with target.open("xb") as file:
        try:
            file.write(partial.read_bytes())
            file.flush()
            os.fsync(file.fileno())
        except BaseException:  # a part of it is not to be read
            with suppress(OSError):
                target.unlink()
            raise


def _remove_abandoned(folder: Path) -> None:
    """Another publisher's leftovers may belong to another user: then they stay."""
    with suppress(OSError):
        for path in folder.iterdir():
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > ABANDONED_S:
                    path.unlink()
