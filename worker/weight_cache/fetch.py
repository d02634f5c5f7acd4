"""Fetching blobs into partial files of this host: several at once, each by several ranged GETs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from shared.errors import Corrupt
from shared.repository.base import BlobSource, FileSource, UrlSource
from shared.repository.disk import copy_hashing, disk_errors
from shared.repository.proxies import proxy_for
from worker.weight_cache.landing import Landing
from worker.weight_cache.loop_thread import LoopThread, run_in
from worker.weight_cache.ranged import Part, Pinned, Retry, get_part, plan_parts

# A store gives each connection a share of its bandwidth, so more are faster, up to a point; with
# few cores they only take turns (measured: 6 were slower than 4 on 2 cores).
CONNECTIONS = min(8, max(4, 2 * (os.cpu_count() or 1)))
_READ_BUFFER_BYTES = 1 << 20
# A part is 4 to 16 MiB: slower than 16 MiB in 300 s counts as no answer.
_TIMEOUT = aiohttp.ClientTimeout(total=300, sock_connect=5, sock_read=30)


Report = Callable[[int], None]
_Download = tuple[Pinned, Landing]


@dataclass(frozen=True)
class Fetch:
    """One blob to fetch: its source, the open file for it, its hash and size, and what to do
    then."""

    name: str
    sha256: str
    size: int
    source: BlobSource
    fd: int
    verified: Callable[[], None]  # called on a thread of the fetcher


class WrongBytes(Corrupt):
    """The bytes that came have another hash than those that were promised."""

    def __init__(self, fetch: Fetch, found: str) -> None:
        super().__init__(f"file {fetch.name!r}: its bytes are not those of the manifest's sha256")
        self.sha256, self.found = fetch.sha256, found


class Fetcher:
    """Owns the connections to the stores and the threads that hash. One for each cache.
    `connections`: the most requests at a time, over all fetches."""

    def __init__(self, connections: int = CONNECTIONS, retry: Retry | None = None) -> None:
        self._connections = connections
        self._retry = retry or Retry()
        self._thread = LoopThread("blob-fetch")
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="blob-fetch")
        self._slots = asyncio.Semaphore(connections)
        self._session: aiohttp.ClientSession | None = None

    async def fetch(
        self, fetches: Sequence[Fetch], on_bytes: Callable[[int], None] | None = None
    ) -> None:
        """Fetch and verify all; the first error cancels the rest and is raised.

        Corrupt if the bytes are not those that the hash promises. `on_bytes(count)` is
        called in the caller's loop for each part that has arrived. Cancellable: nothing writes to
        the files once this has returned or raised.
        """
        report = _in_loop(asyncio.get_running_loop(), on_bytes)
        await self._thread.run(self._fetch_all(fetches, report))

    async def close(self) -> None:
        """Close the connections and join the threads."""
        if self._session is not None:
            await self._thread.run(self._session.close())
        await asyncio.to_thread(self._thread.stop)
        await asyncio.to_thread(self._pool.shutdown)

    async def _fetch_all(self, fetches: Sequence[Fetch], report: Report) -> None:
        """The largest blob first: hashing it takes longest, and two threads cannot share that."""
        downloads: list[_Download] = []
        try:
            async with asyncio.TaskGroup() as group:
                for fetch in sorted(fetches, key=lambda fetch: -fetch.size):
                    landing = Landing(fetch.fd, fetch.size, self._pool)
                    match fetch.source:
                        case FileSource(path):
                            group.create_task(self._copy(fetch, path, report))
                        case UrlSource() as source:
                            group.create_task(_verify(fetch, landing))
                            downloads.append(_download(fetch, source, landing))
                parts = _parts_of(downloads)
                for _ in range(self._connections):
                    group.create_task(self._connection(parts, report))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from errors.exceptions[0].__cause__

    async def _connection(self, parts: Iterator[tuple[_Download, Part]], report: Report) -> None:
        """One of several that share `parts`; these start in order, so that hashing can follow."""
        for (pinned, landing), part in parts:
            async with self._slots:
                await get_part(self._open_session(), pinned, part, landing, self._retry)
            report(part[1] - part[0])

    async def _copy(self, fetch: Fetch, path: Path, report: Report) -> None:
        _accept(fetch, await run_in(self._pool, _copy_file, fetch, path, report))

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),  # `_slots` is the limit
                timeout=_TIMEOUT,
                read_bufsize=_READ_BUFFER_BYTES,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


def _download(fetch: Fetch, source: UrlSource, landing: Landing) -> _Download:
    return Pinned(f"file {fetch.name!r}", source, fetch.size, proxy_for(source.url)), landing


def _parts_of(downloads: Sequence[_Download]) -> Iterator[tuple[_Download, Part]]:
    for download in downloads:
        for part in plan_parts(download[0].size):
            yield download, part


async def _verify(fetch: Fetch, landing: Landing) -> None:
    _accept(fetch, await landing.sha256())


def _accept(fetch: Fetch, found: str) -> None:
    if found != fetch.sha256:
        raise WrongBytes(fetch, found)
    fetch.verified()


def _copy_file(fetch: Fetch, path: Path, report: Report) -> str:
    """Copy a file repository's blob: a link would let a later change of it change the cache."""
    with disk_errors(f"file {fetch.name!r}"):
        source = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return copy_hashing(source, fetch.fd, report, at_most=fetch.size)
        finally:
            os.close(source)


def _in_loop(loop: asyncio.AbstractEventLoop, on_bytes: Callable[[int], None] | None) -> Report:
    def report(count: int) -> None:
        if on_bytes is not None:
            loop.call_soon_threadsafe(on_bytes, count)

    return report
