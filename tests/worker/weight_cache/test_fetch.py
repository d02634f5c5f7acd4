from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from shared.errors import (
    BlobMissing,
    DiskFull,
    Forbidden,
)
from shared.manifest import FileEntry
from shared.repository import Listed, Repository, open_repository
from tests.helpers.store_proxy import Proxy
from tests.helpers.stores import Store, refused, stored
from worker.weight_cache.cache import BlobCache

MIB = 1 << 20


async def test_a_blob_of_several_parts_arrives_whole(
    cache: BlobCache, proxied: Repository, proxy: Proxy, blob: FileEntry, tmp_path: Path
) -> None:
    """It comes by ranges, and what lies on the disk is what was published."""
    paths = await cache.ensure(proxied, [blob])
    assert paths["blob"].read_bytes() == (tmp_path / "to-publish/blob").read_bytes()
    assert sorted(request.headers["Range"] for request in proxy.blob_requests) == [
        "bytes=0-4194303",
        "bytes=4194304-8388607",
        "bytes=8388608-9437183",
    ]


async def test_a_blob_that_is_not_there_is_missing(
    cache: BlobCache, repository: Repository
) -> None:
    """In every kind of repository."""
    message = await refused(cache, repository, FileEntry("model.onnx", "0" * 64, 10), BlobMissing)
    assert "not in the repository" in message


ODD = [
    "env=prod",
    "team a",
    "a+b",
    "~x",
    "@y",
    "(1)",
    "it's",
    "模型",
    "a%b",
    "a%20b",
    "a&b;c$d!*,e",
    'x"y',
]


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("server", ["weed", "moto"])
async def test_a_prefix_may_have_any_character(
    cache: BlobCache, request: pytest.FixtureRequest, prefix: str, tmp_path: Path,
    server: str, name: str,
) -> None:  # fmt: skip
    """Written and listed by one client and downloaded by another, with a signature of it."""
    store: Store = request.getfixturevalue(server)
    repository = store.repository(f"{prefix}/{quote(name)}")
    (entry,) = await asyncio.to_thread(stored, repository, tmp_path, {"blob": 5 * MIB})
    await asyncio.to_thread(repository.put_manifest, "tabby", 1, b"{}")
    assert await asyncio.to_thread(repository.list_all) == [Listed("tabby", (1,))]
    assert await asyncio.to_thread(repository.list_models) == ["tabby"]
    keys = await asyncio.to_thread(
        store.client().list_objects_v2, Bucket=store.bucket, Prefix=prefix
    )
    assert f"{prefix}/{name}/tabby/1/manifest.json" in [key["Key"] for key in keys["Contents"]]
    paths = await cache.ensure(repository, [entry])
    assert paths["blob"].read_bytes() == (tmp_path / "to-publish/blob").read_bytes()


async def test_a_wrong_secret_is_forbidden(
    cache: BlobCache, weed: Store, blob: FileEntry, prefix: str
) -> None:
    """The store's own code is in the message, the secret is not."""
    stranger = open_repository(
        f"s3://{weed.bucket}/{prefix}",
        endpoint_url=weed.endpoint_url,
        access_key=weed.access_key,
        secret_key="not-the-secret",
    )
    message = await refused(cache, stranger, blob, Forbidden)
    assert "SignatureDoesNotMatch" in message
    assert "not-the-secret" not in message
    with pytest.raises(Forbidden):
        await asyncio.to_thread(stranger.check)
    with pytest.raises(Forbidden):
        await asyncio.to_thread(stranger.has_blob, blob.sha256)


@pytest.mark.parametrize("call", ["posix_fallocate", "pwrite"])
async def test_a_full_disk_is_said_and_leaves_nothing(
    cache: BlobCache,
    repository: Repository,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
) -> None:
    """ENOSPC while blocks are claimed or written; once there is room again it works."""
    (entry,) = stored(repository, tmp_path, {"blob": 5 * MIB})

    def full(*args: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        await refused(cache, repository, entry, DiskFull)
    await cache.ensure(repository, [entry])


async def test_bytes_are_reported_as_parts_arrive(
    cache: BlobCache, repository: Repository, tmp_path: Path
) -> None:
    """In the caller's loop; a second `ensure` brings nothing and reports nothing."""
    (entry,) = stored(repository, tmp_path, {"blob": 9 * MIB})
    got: list[int] = []
    loop = asyncio.get_running_loop()

    def on_bytes(count: int) -> None:
        assert asyncio.get_running_loop() is loop
        got.append(count)

    await cache.ensure(repository, [entry], on_bytes)
    await asyncio.sleep(0)
    assert sum(got) == 9 * MIB
    assert len(got) > 1
    got.clear()
    await cache.ensure(repository, [entry], on_bytes)
    assert got == []


async def test_an_empty_file_is_fetched(
    cache: BlobCache, repository: Repository, tmp_path: Path
) -> None:
    """Zero bytes cannot be asked for as a range."""
    (entry,) = stored(repository, tmp_path, {"blob": 0})
    assert (await cache.ensure(repository, [entry]))["blob"].read_bytes() == b""


async def test_a_slow_disk_does_not_hold_up_the_callers_loop(
    cache: BlobCache,
    proxied: Repository,
    blob: FileEntry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Writing happens on the fetcher's thread: a write that hangs leaves the caller free."""
    hanging, go_on = threading.Event(), threading.Event()
    real: Callable[[int, bytes, int], int] = os.pwrite

    def hang(fd: int, data: bytes, offset: int) -> int:
        hanging.set()
        assert go_on.wait(20)
        return real(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", hang)
    fetching = asyncio.create_task(cache.ensure(proxied, [blob]))
    await asyncio.to_thread(hanging.wait, 20)
    turns = 0
    for _ in range(100):
        await asyncio.sleep(0)
        turns += 1
    assert not fetching.done()
    go_on.set()
    await fetching
    assert turns == 100
