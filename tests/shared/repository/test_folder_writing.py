"""Publishing into folders that can do less than a local disk."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.errors import BlobMissing, Conflict, DiskFull, Forbidden
from shared.repository import Repository, publish
from tests.helpers.stores import manifest, written
from tests.shared.repository.test_folder import root_of


class ReadOnly:
    """The system calls of a mount that cannot be written to, on which also unlinking what is not
    there is refused (Linux takes the right to write first)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refused(*args: object, **kwargs: object) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        real = os.open

        def opened(path: object, flags: int, *args: object, **kwargs: object) -> int:
            if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
                refused()
            return real(path, flags, *args, **kwargs)  # type: ignore[arg-type]

        for name in ("unlink", "mkdir", "rename", "link", "rmdir"):
            monkeypatch.setattr(os, name, refused)
        monkeypatch.setattr(os, "open", opened)
        monkeypatch.setattr(io, "open", self._io(io.open, refused))

    def _io(self, real: Callable[..., Any], refused: Callable[..., None]) -> Callable[..., Any]:
        def opened(file: object, mode: str = "r", *args: object, **kwargs: object) -> Any:
            if set(mode) & set("wxa+"):
                refused()
            return real(file, mode, *args, **kwargs)

        return opened


def test_a_publish_that_changes_nothing_works_on_a_read_only_folder(
    folder: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is there already needs no right to write; what is not is refused in one line."""
    files = written(tmp_path, {"model.onnx": 1000})
    other = tmp_path / "other"
    other.write_bytes(b"other")
    publish(folder, manifest("tabby"), files)
    ReadOnly(monkeypatch)
    assert publish(folder, manifest("tabby"), files).unchanged
    for attempt in (
        lambda: publish(folder, manifest("tabby", 2), files),
        lambda: publish(folder, manifest("new"), {"model.onnx": other}),
        lambda: folder.delete_manifest("tabby", 1),
    ):
        with pytest.raises(Forbidden, match="Read-only file system") as caught:
            attempt()
        assert "\n" not in caught.value.message


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK])
@pytest.mark.parametrize("renames", [True, False])
def test_a_file_system_without_hard_links_is_published_to(
    folder: Repository, monkeypatch: pytest.MonkeyPatch, code: int, renames: bool
) -> None:
    """By a rename that replaces nothing, or without that by a copy; a conflict is a conflict."""

    def refused(*args: object, **kwargs: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refused)
    if not renames:
        monkeypatch.setattr("shared.repository.naming._rename", refused)
    folder.put_manifest("tabby", 1, b"first")
    folder.put_manifest("tabby", 1, b"first")
    with pytest.raises(Conflict):
        folder.put_manifest("tabby", 1, b"second")
    # Another publisher may come between the look and the name.
    monkeypatch.setattr(folder, "_same_or_conflict", once_missing(folder))
    with pytest.raises(Conflict):
        folder.put_manifest("tabby", 1, b"second")
    assert folder.read_manifest("tabby", 1) == b"first"
    assert list((root_of(folder) / "blobs" / "partial").iterdir()) == []


def once_missing(folder: Repository) -> Callable[..., None]:
    """`_same_or_conflict` that has not seen the file at its first call."""
    real, seen = folder._same_or_conflict, False  # type: ignore[attr-defined]

    def look(*args: Any) -> None:
        nonlocal seen
        if not seen:
            seen = True
            raise BlobMissing("not yet")
        real(*args)

    return look


def test_a_copy_that_fails_leaves_no_half_manifest(
    folder: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, where neither links nor renames are offered."""

    def refused(*args: object) -> None:
        raise OSError(errno.EPERM, "")

    def full(handle: int) -> None:
        if "manifest.json" in str(Path(f"/proc/self/fd/{handle}").readlink()):
            raise OSError(errno.ENOSPC, "")

    monkeypatch.setattr(os, "link", refused)
    monkeypatch.setattr("shared.repository.naming._rename", refused)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull):
        folder.put_manifest("tabby", 1, b"first")
    monkeypatch.undo()
    assert folder.list_all() == []
    folder.put_manifest("tabby", 1, b"first")


def test_leftovers_that_cannot_be_removed_are_left(
    folder: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They belong to another user, and are no reason not to publish."""
    partial = root_of(folder) / "blobs" / "partial"
    partial.mkdir(parents=True)
    (partial / "old").touch()
    os.utime(partial / "old", (0, 0))
    real = os.unlink

    def refused(path: Any, *args: Any, **kwargs: Any) -> None:
        if str(path).endswith("old"):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        real(path, *args, **kwargs)

    monkeypatch.setattr(os, "unlink", refused)
    folder.put_manifest("tabby", 1, b"{}")
    assert folder.list_versions("tabby") == [1]
