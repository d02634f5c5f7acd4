"""What can go wrong between the store and us, each told apart and each leaving nothing."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from aiohttp import web

from shared import causes
from shared.causes import scope_of
from shared.errors import (
    ChangedMeanwhile,
    Corrupt,
    RepositoryError,
    StoreUnavailable,
)
from shared.manifest import FileEntry
from shared.repository import Repository
from tests.helpers.store_proxy import Proxy, failing
from tests.helpers.stores import Store, refused, stored
from worker.weight_cache.cache import BlobCache

MIB = 1 << 20


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_what_is_transient_is_tried_again(
    cache: BlobCache, proxied: Repository, proxy: Proxy, blob: FileEntry, status: int
) -> None:
    """A store that fails a few times and then works is no failure."""
    proxy.act = failing(3, status)
    await cache.ensure(proxied, [blob])
    assert len(proxy.blob_requests) == 3 + 3


async def test_a_store_that_keeps_failing_is_given_up(
    cache: BlobCache, proxied: Repository, direct: Repository, proxy: Proxy, tmp_path: Path
) -> None:
    """Attempts are bounded, and the message says how many there were."""
    (entry,) = stored(direct, tmp_path, {"blob": 1000})
    proxy.act = failing(1_000_000)
    message = await refused(cache, proxied, entry, StoreUnavailable)
    assert "tried 4 times" in message
    assert len(proxy.blob_requests) == 4


async def test_a_store_that_is_gone_is_unavailable(
    cache: BlobCache, weed: Store, blob: FileEntry, prefix: str
) -> None:
    """Nobody listens: tried again, then said, without address or signature."""
    nowhere = weed.repository(prefix, "http://127.0.0.1:9")
    message = await refused(cache, nowhere, blob, StoreUnavailable)
    assert "127.0.0.1" not in message
    assert "Signature" not in message


async def test_an_answer_cut_short_is_continued(
    cache: BlobCache, proxied: Repository, proxy: Proxy, blob: FileEntry
) -> None:
    """What has come is kept: the next request asks for the rest only."""
    cut = False

    async def cut_once(request: web.Request) -> web.StreamResponse | None:
        nonlocal cut
        if cut or "bytes=0-" not in request.headers["Range"]:
            return None
        cut = True
        whole = await proxy.forward(request)
        partly = web.StreamResponse(status=206, headers=whole.headers)
        await partly.prepare(request)
        assert isinstance(whole.body, bytes)
        await partly.write(whole.body[:MIB])
        assert request.transport is not None
        request.transport.close()
        return partly

    proxy.act = cut_once
    await cache.ensure(proxied, [blob])
    asked = [request.headers["Range"] for request in proxy.blob_requests]
    assert any(0 < int(r[6:].split("-")[0]) <= MIB for r in asked)


async def test_an_object_replaced_in_mid_download_is_not_mixed(
    cache: BlobCache,
    proxied: Repository,
    direct: Repository,
    proxy: Proxy,
    weed: Store,
    tmp_path: Path,
    prefix: str,
) -> None:
    """The ETag of the first answer holds for all parts: by If-Match the store refuses others."""
    (entry,) = stored(direct, tmp_path, {"blob": 60 * MIB})

    async def replace(request: web.Request) -> web.StreamResponse | None:
        if len(proxy.blob_requests) == 8:
            await asyncio.to_thread(
                weed.client().put_object,
                Bucket=weed.bucket,
                Key=f"{prefix}/blobs/sha256/{entry.sha256}",
                Body=os.urandom(60 * MIB),
            )
        return None

    proxy.act = replace
    await refused(cache, proxied, entry, ChangedMeanwhile)
    assert any("If-Match" in request.headers for request in proxy.blob_requests)


async def test_an_altered_byte_is_corrupt(
    cache: BlobCache, proxied: Repository, proxy: Proxy, blob: FileEntry
) -> None:
    """Right size, wrong bytes: the hash tells."""
    proxy.alter = lambda body: b"x" + body[1:]
    assert "sha256" in await refused(cache, proxied, blob, Corrupt)


@pytest.mark.parametrize("claimed", [8 * MIB, 20 * MIB, 1000])
async def test_a_size_that_the_manifest_lies_about_is_corrupt_before_any_download(
    cache: BlobCache, proxied: Repository, proxy: Proxy, blob: FileEntry, claimed: int
) -> None:
    """The first answer's headers tell the real size; not one byte is taken down."""
    got: list[int] = []
    lie = FileEntry(blob.name, blob.sha256, claimed)
    with pytest.raises(Corrupt, match=f"holds ({9 * MIB}|fewer) bytes"):
        await cache.ensure(proxied, [lie], got.append)
    assert sum(got) == 0
    assert cache.used_bytes == 0


async def test_an_endless_answer_is_cut_off(
    cache: BlobCache, proxied: Repository, direct: Repository, proxy: Proxy, tmp_path: Path
) -> None:
    """A body without a length is read to the size in the manifest and no further."""
    (entry,) = stored(direct, tmp_path, {"blob": 1000})

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 400)
        except ConnectionError:
            return response

    proxy.act = endless
    assert "more than" in await refused(cache, proxied, entry, Corrupt)


async def test_a_redirect_is_not_followed(
    cache: BlobCache, proxied: Repository, proxy: Proxy, blob: FileEntry
) -> None:
    """Whatever host it names learns nothing from us."""

    async def elsewhere(request: web.Request) -> web.StreamResponse:
        raise web.HTTPTemporaryRedirect(proxy.url + "/blobs/elsewhere")

    proxy.act = elsewhere
    assert "redirects" in await refused(cache, proxied, blob, RepositoryError)
    assert not any("elsewhere" in request.path for request in proxy.blob_requests)


async def test_a_store_that_ignores_ranges_is_refused(
    cache: BlobCache, proxied: Repository, proxy: Proxy, blob: FileEntry
) -> None:
    """The whole object in place of a part would be written over the other parts."""

    async def whole(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"x" * 9 * MIB)

    proxy.act = whole
    assert "ranges" in await refused(cache, proxied, blob, RepositoryError)


async def test_wrong_bytes_that_come_once_are_fetched_again(
    cache: BlobCache, proxied: Repository, proxy: Proxy, blob: FileEntry, tmp_path: Path
) -> None:
    """Whatever altered them, it was not the store: the model is good."""
    left = 3  # parts

    def alter(body: bytes) -> bytes:
        nonlocal left
        left -= 1
        return b"x" + body[1:] if left >= 0 and len(body) > 10_000 else body

    proxy.alter = alter
    paths = await cache.ensure(proxied, [blob])
    assert paths["blob"].read_bytes() == (tmp_path / "to-publish/blob").read_bytes()


@pytest.mark.parametrize(
    ("letters", "error", "scope"),
    [(b"xx", Corrupt, causes.MODEL), (b"xy", ChangedMeanwhile, causes.WORKER)],
)
async def test_only_the_same_wrong_bytes_twice_are_the_stores(
    cache: BlobCache, proxied: Repository, proxy: Proxy, blob: FileEntry, letters: bytes,
    error: type[RepositoryError], scope: str,
) -> None:  # fmt: skip
    """Others each time come of the way here, which is no fault of the model."""
    seen = 0

    def alter(body: bytes) -> bytes:
        nonlocal seen
        seen += 1
        which = min((seen - 1) // 3, 1)
        return letters[which : which + 1] + body[1:]

    proxy.alter = alter
    with pytest.raises(error, match="sha256") as caught:
        await cache.ensure(proxied, [blob])
    assert scope_of(caught.value) == scope
    assert cache.used_bytes == 0
    assert len(proxy.blob_requests) == 6
