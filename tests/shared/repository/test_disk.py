from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from shared.errors import BlobMissing, DiskFull, Forbidden, RepositoryError
from shared.repository.disk import copy_hashing, disk_errors, hash_range, write_all


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, DiskFull),
        (errno.EDQUOT, DiskFull),
        (errno.EACCES, Forbidden),
        (errno.EROFS, Forbidden),
        (errno.ENOENT, BlobMissing),
        (errno.ENOTDIR, BlobMissing),
        (errno.EIO, RepositoryError),
    ],
)
def test_each_system_error_has_ours(number: int, error: type[RepositoryError]) -> None:
    """With the system's words and without the path."""
    with pytest.raises(RepositoryError) as caught, disk_errors("blob cache"):
        raise OSError(number, os.strerror(number), "/secret/place")
    assert type(caught.value) is error
    assert "/secret" not in caught.value.message


def test_a_write_cut_short_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pwrite may take less than it was given."""
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: real(fd, data[:3], offset))
    with (tmp_path / "file").open("w+b") as file:
        write_all(file.fileno(), b"0123456789", 5)
        assert file.read() == b"\0" * 5 + b"0123456789"


def test_a_range_is_hashed_across_steps(tmp_path: Path) -> None:
    """Exactly [start, end); a file that ends before is an error."""
    body = os.urandom(700_000)
    path = tmp_path / "file"
    path.write_bytes(body)
    with path.open("rb") as file:
        hasher = hashlib.sha256()
        hash_range(hasher, file.fileno(), 10, 600_000)
        assert hasher.hexdigest() == hashlib.sha256(body[10:600_000]).hexdigest()
        with pytest.raises(OSError, match="error"):
            hash_range(hasher, file.fileno(), 600_000, 700_001)


@pytest.mark.parametrize("at_most", [0, 1, 700_000, 300_000, 10**9])
def test_a_copy_is_bounded_and_its_hash_is_of_what_was_copied(tmp_path: Path, at_most: int) -> None:
    """A source that grows meanwhile adds nothing."""
    body = os.urandom(700_000)
    (tmp_path / "source").write_bytes(body)
    counts: list[int] = []
    with (tmp_path / "source").open("rb") as source, (tmp_path / "copy").open("wb") as copy:
        found = copy_hashing(source.fileno(), copy.fileno(), counts.append, at_most)
    assert (tmp_path / "copy").read_bytes() == body[:at_most]
    assert found == hashlib.sha256(body[:at_most]).hexdigest()
    assert sum(counts) == min(at_most, 700_000)
