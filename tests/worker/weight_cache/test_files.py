from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shared.errors import Corrupt
from shared.manifest import FileEntry
from shared.repository import Repository
from tests.helpers.stores import entry_of, stored
from worker.weight_cache.cache import BlobCache

MIB = 1 << 20
MakeCache = Callable[..., BlobCache]


async def test_a_later_change_of_the_source_does_not_reach_the_cache(
    cache: BlobCache, folder: Repository, tmp_path: Path
) -> None:
    """A file repository's blob is copied: its file may be written to in place."""
    files = stored(folder, tmp_path, {"a": 1000})
    cached = (await cache.ensure(folder, files))["a"]
    before = cached.read_bytes()
    with (tmp_path / "repository" / "blobs" / "sha256" / files[0].sha256).open("r+b") as source:
        source.write(b"changed")
    assert cached.read_bytes() == before


async def test_a_manifest_that_lies_about_a_cached_blobs_size_is_corrupt(
    cache: BlobCache, folder: Repository, tmp_path: Path
) -> None:
    """And the blob, which is what its name says, stays."""
    (entry,) = stored(folder, tmp_path, {"a": 1000})
    path = (await cache.ensure(folder, [entry]))["a"]
    with pytest.raises(Corrupt, match="holds 1000 bytes, the manifest says 999"):
        await cache.ensure(folder, [FileEntry("a", entry.sha256, 999)])
    assert path.exists()
    with pytest.raises(Corrupt, match="another size"):
        await cache.ensure(folder, [entry, FileEntry("b", entry.sha256, 999)])


async def test_blobs_are_marked_once_they_are_on_the_disk(
    make_cache: MakeCache, folder: Repository, tmp_path: Path
) -> None:
    """A closed cache has flushed what it fetched; the mode says so to the next process."""
    cache = make_cache()
    path = (await cache.ensure(folder, stored(folder, tmp_path, {"a": 1000})))["a"]
    assert path.stat().st_mode & 0o777 == 0o600
    await cache.close()
    assert path.stat().st_mode & 0o777 == 0o400


@pytest.mark.parametrize("damage", [b"", b"x" * 1000])
async def test_a_blob_that_a_power_cut_damaged_is_fetched_again(
    make_cache: MakeCache, folder: Repository, tmp_path: Path, damage: bytes
) -> None:
    """Unmarked files are hashed before use: right name, wrong content, even of the right size."""
    files = stored(folder, tmp_path, {"a": 1000})
    path = tmp_path / "cache" / "sha256" / files[0].sha256
    path.parent.mkdir(parents=True)
    path.write_bytes(damage)
    path.chmod(0o600)
    found = (await make_cache().ensure(folder, files))["a"]
    assert entry_of(found).sha256 == files[0].sha256
