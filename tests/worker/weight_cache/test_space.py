from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.errors import Corrupt, DiskFull
from shared.manifest import FileEntry
from shared.repository import Repository
from tests.helpers.stores import stored
from worker.weight_cache.cache import BlobCache

MIB = 1 << 20
MakeCache = Callable[..., BlobCache]


async def used_and_released(
    cache: BlobCache, repository: Repository, files: list[FileEntry]
) -> None:
    await cache.ensure(repository, files)
    cache.release(files)


def on_disk(cache_root: Path) -> set[str]:
    return {path.name for path in (cache_root / "sha256").iterdir()}


async def test_the_least_recently_used_goes_first(
    make_cache: MakeCache, folder: Repository, tmp_path: Path
) -> None:
    """Use counts, not age: what was touched last stays."""
    cache = make_cache(budget_bytes=3000)
    files = stored(folder, tmp_path, {name: 1000 for name in "abcd"})
    for age, entry in enumerate(files[:3]):
        await used_and_released(cache, folder, [entry])
        os.utime(tmp_path / "cache" / "sha256" / entry.sha256, (1000 + age, 1000 + age))
    await used_and_released(cache, folder, [files[0]])
    await used_and_released(cache, folder, [files[3]])
    kept = {files[n].sha256 for n in (0, 2, 3)}
    assert on_disk(tmp_path / "cache") == kept
    assert cache.used_bytes == 3000


async def test_what_is_pinned_stays_and_a_full_cache_says_so(
    make_cache: MakeCache, folder: Repository, tmp_path: Path
) -> None:
    """Nothing is evicted for a wish that cannot be met; a release makes room."""
    cache = make_cache(budget_bytes=2500)
    a, b, c = stored(folder, tmp_path, {name: 1000 for name in "abc"})
    await cache.ensure(folder, [a])
    await cache.ensure(folder, [a])
    await used_and_released(cache, folder, [b])
    large = stored(folder, tmp_path, {"large": 2000})
    with pytest.raises(DiskFull, match="2000 bytes do not fit"):
        await cache.ensure(folder, large)
    assert on_disk(tmp_path / "cache") == {a.sha256, b.sha256}
    cache.release([a])
    await cache.ensure(folder, [c])
    assert on_disk(tmp_path / "cache") == {a.sha256, c.sha256}
    cache.release([a])
    cache.release([c])
    await cache.ensure(folder, large)


async def test_files_over_the_whole_budget_are_refused_at_once(
    make_cache: MakeCache, folder: Repository, tmp_path: Path
) -> None:
    """Together they count, even if each would fit."""
    cache = make_cache(budget_bytes=1500)
    files = stored(folder, tmp_path, {"a": 1000, "b": 1000})
    with pytest.raises(DiskFull, match="2000 bytes, the whole budget is 1500") as never:
        await cache.ensure(folder, files)
    assert not never.value.retryable, "nobody is to wait for what never comes"
    assert cache.used_bytes == 0


async def test_a_failed_ensure_pins_nothing(
    make_cache: MakeCache, folder: Repository, tmp_path: Path
) -> None:
    """What had come before the failure may be evicted."""
    cache = make_cache(budget_bytes=1500)
    good, other = stored(folder, tmp_path, {"a": 1000, "b": 1000})
    await used_and_released(cache, folder, [good])
    with pytest.raises(Corrupt):
        await cache.ensure(folder, [good, FileEntry("b", other.sha256, 400)])
    await cache.ensure(folder, [other])


async def test_a_release_too_many_is_a_bug(
    cache: BlobCache, folder: Repository, tmp_path: Path
) -> None:
    """It would unpin what another relies on."""
    files = stored(folder, tmp_path, {"a": 10})
    await used_and_released(cache, folder, files)
    with pytest.raises(ValueError, match="bug"):
        cache.release(files)


async def test_leftovers_of_dead_processes_are_removed(
    make_cache: MakeCache, folder: Repository, tmp_path: Path
) -> None:
    """A fetch that was killed holds no lock, so its bytes go at the next start."""
    partial = tmp_path / "cache" / "partial"
    partial.mkdir(parents=True)
    (partial / f"{'a' * 64}.0123456789abcdef").write_bytes(b"half")
    cache = make_cache()
    assert list(partial.iterdir()) == []
    assert cache.used_bytes == 0


async def test_another_processes_pins_are_respected(
    make_cache: MakeCache, folder: Repository, tmp_path: Path
) -> None:
    """What one worker has in use is not evicted by the next."""
    files = stored(folder, tmp_path, {"a": 1000, "b": 1000})
    mine, other = make_cache(budget_bytes=1500), make_cache(budget_bytes=1500)
    await mine.ensure(folder, files[:1])
    with pytest.raises(DiskFull):
        await other.ensure(folder, files[1:])
    mine.release(files[:1])
    await other.ensure(folder, files[1:])
    assert on_disk(tmp_path / "cache") == {files[1].sha256}


async def test_a_clean_up_that_fails_does_not_hide_why_the_fetch_failed(
    cache: BlobCache, folder: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that has become read-only refuses the removal too."""
    (entry,) = stored(folder, tmp_path, {"a": 1000})
    bad = FileEntry("a", entry.sha256[::-1], 1000)
    source = tmp_path / "repository" / "blobs" / "sha256"
    (source / bad.sha256).write_bytes((source / entry.sha256).read_bytes())

    def refuse(*args: object, **named: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(Corrupt, match="not those of the manifest"):
        await cache.ensure(folder, [bad])
