from __future__ import annotations

import asyncio
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.repository import Repository, publish
from tests.helpers.store_proxy import Proxy
from tests.helpers.stores import Store, manifest, stored, written
from worker.weight_cache.cache import BlobCache

MIB = 1 << 20
MakeCache = Callable[..., BlobCache]


def on_disk(cache_root: Path) -> set[str]:
    return {path.name for path in (cache_root / "sha256").iterdir()}


async def test_a_hundred_names_of_the_same_bytes_are_downloaded_and_kept_once(
    cache: BlobCache, weed: Store, prefix: str, proxied: Repository, proxy: Proxy, tmp_path: Path
) -> None:
    """One object, one request, one file on the disk."""
    body = written(tmp_path, {"a": 1000})["a"]
    names = {f"weights/{n}": body for n in range(100)}
    files = publish(weed.repository(prefix), manifest(), names).manifest.files
    paths = await cache.ensure(proxied, files)
    assert set(paths) == set(names)
    assert len(set(paths.values())) == 1
    assert cache.used_bytes == 1000
    assert len(proxy.blob_requests) == 1


async def test_what_is_cached_is_not_fetched_again(
    cache: BlobCache, repository: Repository, tmp_path: Path
) -> None:
    """Even when the repository has lost it."""
    files = stored(repository, tmp_path, {"a": 1000})
    first = await cache.ensure(repository, files)

    class Gone:
        """Fails at every call."""

    assert await cache.ensure(Gone(), files) == first  # type: ignore[arg-type]


async def test_callers_at_once_share_one_download(
    cache: BlobCache, weed: Store, prefix: str, proxied: Repository, proxy: Proxy, tmp_path: Path
) -> None:
    """Fifty want the same blob in the same moment; the store is asked once."""
    files = stored(weed.repository(prefix), tmp_path, {"a": 1000})
    answers = await asyncio.gather(*[cache.ensure(proxied, files) for _ in range(50)])
    assert all(answer == answers[0] for answer in answers)
    assert len(proxy.blob_requests) == 1


async def test_when_the_first_caller_goes_another_takes_over(
    cache: BlobCache, weed: Store, prefix: str, proxied: Repository, proxy: Proxy, tmp_path: Path
) -> None:
    """A cancelled `ensure` takes nobody along and leaves nothing behind."""
    files = stored(weed.repository(prefix), tmp_path, {"a": 1000})
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def hold(request: object) -> None:
        asked.set()
        await go_on.wait()

    proxy.act = hold
    first = asyncio.create_task(cache.ensure(proxied, files))
    await asked.wait()
    second = asyncio.create_task(cache.ensure(proxied, files))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    go_on.set()
    assert (await second)["a"].stat().st_size == 1000
    assert cache.used_bytes == 1000


async def test_a_cancelled_ensure_leaves_neither_bytes_nor_pins(
    make_cache: MakeCache,
    weed: Store,
    prefix: str,
    proxied: Repository,
    proxy: Proxy,
    tmp_path: Path,
) -> None:
    """Its reservation goes too, so that others have the room."""
    cache = make_cache(budget_bytes=1500)
    one, two = stored(weed.repository(prefix), tmp_path, {"a": 1000, "b": 1000})
    asked = asyncio.Event()

    async def hang(request: object) -> None:
        asked.set()
        await asyncio.Event().wait()

    proxy.act = hang
    task = asyncio.create_task(cache.ensure(proxied, [one]))
    await asked.wait()
    assert cache.used_bytes == 1000
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cache.used_bytes == 0
    proxy.act = None
    await cache.ensure(proxied, [two])


async def test_a_living_processes_fetch_is_left_alone(
    make_cache: MakeCache,
    weed: Store,
    prefix: str,
    proxied: Repository,
    proxy: Proxy,
    tmp_path: Path,
) -> None:
    """A second cache on the root neither removes nor repeats it, and counts its room."""
    files = stored(weed.repository(prefix), tmp_path, {"a": 1000})
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def hold(request: object) -> None:
        asked.set()
        await go_on.wait()

    proxy.act = hold
    first = asyncio.create_task(make_cache().ensure(proxied, files))
    await asked.wait()
    other = make_cache()
    assert other.used_bytes == 1000
    second = asyncio.create_task(other.ensure(proxied, files))
    early, _ = await asyncio.wait([second], timeout=0.1)
    assert not early
    go_on.set()
    assert await first == await second
    assert len(proxy.blob_requests) == 1


ENSURE = """
    import asyncio, sys
    from pathlib import Path
    from shared.manifest import FileEntry
    from worker.weight_cache.cache import BlobCache
    from tests.helpers.stores import Store
    async def main():
        repository = Store(*{store!r}).repository({prefix!r}, {endpoint!r})
        cache = BlobCache(Path({root!r}), 1 << 30)
        print("ready", flush=True)
        sys.stdin.readline()
        await cache.ensure(repository, [FileEntry("a", {sha256!r}, {size})])
        print("done", flush=True)
        sys.stdin.readline()
    asyncio.run(main())
"""


async def _python(script: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        textwrap.dedent(script),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )


async def test_two_processes_that_want_a_blob_at_once_download_it_once(
    weed: Store, prefix: str, proxy: Proxy, tmp_path: Path
) -> None:
    """And a kill -9 of one that has it pinned unpins it."""
    (entry,) = stored(weed.repository(prefix), tmp_path, {"a": 3 * MIB})
    root = tmp_path / "cache"
    script = ENSURE.format(
        store=(weed.endpoint_url, weed.access_key, weed.secret_key, weed.bucket),
        prefix=prefix,
        endpoint=proxy.url,
        root=str(root),
        sha256=entry.sha256,
        size=entry.size,
    )
    both = [await _python(script) for _ in range(2)]
    try:
        for word in (b"ready\n", b"done\n"):
            for process in both:
                assert process.stdout is not None
                assert await process.stdout.readline() == word
            for process in both:
                if word == b"ready\n":
                    assert process.stdin is not None
                    process.stdin.write(b"\n")
        assert len(proxy.blob_requests) == 1
        assert on_disk(root) == {entry.sha256}
        assert list((root / "partial").iterdir()) == []
    finally:
        for process in both:
            process.kill()
            await process.communicate()
    cache = BlobCache(root, 3 * MIB)
    (next_one,) = stored(weed.repository(prefix), tmp_path, {"b": 2 * MIB})
    await cache.ensure(weed.repository(prefix), [next_one])
    assert on_disk(root) == {next_one.sha256}
    await cache.close()
