"""What another user planted where the cache lies is never read, and says why."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.config import WorkerConfig
from shared.errors import ConfigError
from shared.manifest import FileEntry
from shared.platforms import CODE_FILES, PLATFORMS, resolve
from shared.repository import Repository
from tests.helpers.stores import entry_of, stored
from worker.weight_cache.cache import BlobCache
from worker.weight_cache.root import open_root

MakeCache = Callable[..., BlobCache]
NAMES = ["weights/w", "model.onnx"]


def planted(cache: BlobCache, tmp_path: Path, entry: FileEntry) -> Path:
    """A blob of the right name, size and mode, with other content."""
    path = tmp_path / "cache" / "sha256" / entry.sha256
    path.write_bytes(b"E" * entry.size)
    path.chmod(0o400)
    return path


async def is_served(cache: BlobCache, repository: Repository, entry: FileEntry) -> bool:
    """Whether what a load gets is what the manifest promises."""
    found = (await cache.ensure(repository, [entry]))[entry.name]
    cache.release([entry])
    return not found.is_symlink() and entry_of(found).sha256 == entry.sha256


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's file")
@pytest.mark.parametrize("name", NAMES)
async def test_another_users_blob_is_fetched_anew(
    make_cache: MakeCache, folder: Repository, tmp_path: Path, name: str
) -> None:
    """Even if it is marked as verified."""
    (entry,) = stored(folder, tmp_path, {name: 1000})
    cache = make_cache()
    os.chown(planted(cache, tmp_path, entry), 12345, 12345)
    assert await is_served(cache, folder, entry)


@pytest.mark.parametrize("name", NAMES)
async def test_a_link_in_place_of_a_blob_is_not_followed(
    make_cache: MakeCache, folder: Repository, tmp_path: Path, name: str
) -> None:
    """Nor is what it points to changed."""
    (entry,) = stored(folder, tmp_path, {name: 1000})
    cache = make_cache()
    path = planted(cache, tmp_path, entry)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert await is_served(cache, folder, entry)
    assert (tmp_path / "elsewhere").read_bytes() == b"E" * 1000


@pytest.mark.parametrize("kind", ["folder", "pipe", "dangling link", "folder with files"])
async def test_what_is_no_file_gives_way_to_the_blob(
    make_cache: MakeCache, folder: Repository, tmp_path: Path, kind: str
) -> None:
    """Whatever has its name, and whether it was there at the start or is evicted."""
    (entry,) = stored(folder, tmp_path, {"weights/w": 1000})
    make_cache()
    path = tmp_path / "cache" / "sha256" / entry.sha256
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "dangling link":
            path.symlink_to(tmp_path / "nowhere")
        case _:
            path.mkdir()
            if kind != "folder":
                (path / "x").write_bytes(b"x" * 5000)
    leftover = tmp_path / "cache" / "partial" / f"{entry.sha256}.00"
    leftover.mkdir()
    assert await is_served(make_cache(), folder, entry)
    assert not leftover.exists()


async def test_code_is_hashed_at_each_use(
    make_cache: MakeCache, folder: Repository, tmp_path: Path
) -> None:
    """By a process that did not verify it, and by one that did if it was written to since."""
    (entry,) = stored(folder, tmp_path, {"model.onnx": 1000})
    cache = make_cache()
    path = planted(cache, tmp_path, entry)
    assert await is_served(cache, folder, entry)
    path.chmod(0o600)
    path.write_bytes(b"F" * 1000)
    path.chmod(0o400)
    os.utime(path, (1, 1))
    assert await is_served(cache, folder, entry)


async def test_code_that_this_process_verified_is_not_hashed_again(
    make_cache: MakeCache, folder: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reload stays quick; sealing, and finding it, do not count as changes."""
    (entry,) = stored(folder, tmp_path, {"model.onnx": 1000})
    cache = make_cache()
    await cache.ensure(folder, [entry])
    await cache.ensure(folder, [entry])
    cache._files.seal([entry.sha256])

    def fail(path: Path) -> tuple[str, int]:
        raise AssertionError(path)

    monkeypatch.setattr("worker.weight_cache.files._hash_of_own", fail)
    await cache.ensure(folder, [entry])


def test_every_file_that_a_format_runs_counts_as_code() -> None:
    """The files that its loader opens by a fixed name, and programs."""
    for name, platform in PLATFORMS.items():
        if platform.trust == "code":
            module = resolve(platform.loader).__globals__
            assert {module.get("MODEL_FILE"), platform.program_file} & CODE_FILES, name


@pytest.mark.parametrize("kind", ["link", "writable", "writable inside", "another's"])
def test_a_folder_that_is_not_ours_alone_is_refused(
    make_cache: MakeCache, tmp_path: Path, kind: str
) -> None:
    """With the setting and what is wrong with it."""
    root = tmp_path / "cache"
    match kind:
        case "link":
            if os.geteuid():
                pytest.skip("only root can make another user's link")
            root.symlink_to(tmp_path)
            os.lchown(root, 12345, 12345)
        case "writable":
            root.mkdir()
            root.chmod(0o770)
        case "writable inside":
            (root / "sha256").mkdir(parents=True)
            (root / "sha256").chmod(0o777)
        case _:
            if os.geteuid():
                pytest.skip("only root can make another user's folder")
            root.mkdir()
            os.chown(root, 12345, 12345)
    with pytest.raises(ConfigError, match="WARMROUTE_DISK_CACHE: "):
        make_cache()


@pytest.mark.parametrize("place", ["/proc/none/cache", "a-file/cache", "loop/cache"])
def test_a_folder_that_cannot_be_made_is_a_setting_that_is_wrong(
    tmp_path: Path, place: str
) -> None:
    """Starting again would not help."""
    (tmp_path / "a-file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(ConfigError, match=r"WARMROUTE_DISK_CACHE: .* cannot be made: "):
        open_root(WorkerConfig(disk_cache=str(tmp_path / place)))


def test_the_default_folder_is_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In his cache folder, his home, or under his number where he has none that can be used."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    shared = tmp_path / "tmp"
    (tmp_path / "home").mkdir()
    found = open_root(WorkerConfig(cache_home=str(tmp_path / "xdg")), shared)
    assert found == tmp_path / "xdg" / "warmroute"
    assert open_root(WorkerConfig(), shared) == tmp_path / "home/.cache/warmroute"
    assert found.stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv("HOME", "/")
    numbered = open_root(WorkerConfig(), shared)
    assert numbered.parent == shared and str(os.geteuid()) in numbered.name
    numbered.chmod(0o777)
    with pytest.raises(ConfigError, match="other users may write"):
        open_root(WorkerConfig(), shared)
