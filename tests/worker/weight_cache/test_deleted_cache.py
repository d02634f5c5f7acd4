"""The folder of the cache is deleted under a live worker: the next load makes it anew."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.errors import BlobMissing, DiskFull
from shared.repository import Repository
from tests.helpers.stores import stored
from worker.weight_cache.cache import BlobCache

MakeCache = Callable[..., BlobCache]


@pytest.mark.parametrize("part", ["", "sha256", "partial", "locks"])
async def test_what_was_deleted_is_fetched_and_made_again(
    cache: BlobCache, repository: Repository, tmp_path: Path, part: str
) -> None:
    """The whole folder or a part of it; what this process holds stays counted."""
    old, new = stored(repository, tmp_path, {"a": 1000}), stored(repository, tmp_path, {"b": 500})
    await cache.ensure(repository, old)
    gone = cache.root / part
    gone.unlink() if gone.is_file() else shutil.rmtree(gone)
    assert cache.used_bytes in (0, 1000)
    for files in (new, old):
        paths = await cache.ensure(repository, files)
        assert [len(path.read_bytes()) for path in paths.values()] == [files[0].size]
    assert cache.used_bytes == 1500
    assert cache.root.stat().st_mode & 0o777 == 0o700
    for files in (new, old, old):
        cache.release(files)


async def test_a_worker_that_starts_later_evicts_nothing_that_is_in_use(
    make_cache: MakeCache, repository: Repository, tmp_path: Path
) -> None:
    """Both find the same locks again."""
    (first, second) = (make_cache(budget_bytes=1000), make_cache(budget_bytes=1000))
    used, other = stored(repository, tmp_path, {"a": 900}), stored(repository, tmp_path, {"b": 900})
    shutil.rmtree(first.root)
    await first.ensure(repository, used)
    with pytest.raises(DiskFull, match="too few of them may be evicted"):
        await second.ensure(repository, other)
    first.release(used)
    await second.ensure(repository, other)


async def test_a_budget_that_cannot_be_told_is_an_error_of_this_disk(
    cache: BlobCache, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the tree, so that another worker is asked; not a bug of ours."""

    def gone(used: int) -> int:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(cache, "_budget", gone)
    files = stored(repository, tmp_path, {"a": 1000})
    with pytest.raises(BlobMissing, match="blob cache: No such file"):
        await cache.ensure(repository, files)
