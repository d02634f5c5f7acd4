"""The bytes of a model version from S3 by plain ranged GETs into files: no hashing, no cache.

The same parts and as many connections as ours, so what ours takes longer is what ours adds.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import aiohttp
import uvloop

from deploy.bench.errors import BenchError
from shared.manifest import FileEntry
from shared.repository.base import Repository, UrlSource
from worker.weight_cache.fetch import CONNECTIONS
from worker.weight_cache.ranged import plan_parts

_READ_BUFFER_BYTES = 1 << 20
Part = tuple[str, int, int, int]  # URL, [start, end), descriptor to write to


def download_s(repository: Repository, files: Iterable[FileEntry], folder: Path) -> float:
    """Download the distinct blobs of `files` into `folder`; the seconds it took, signing included.
    The files are removed again."""
    distinct = {entry.sha256: entry for entry in files}.values()
    paths = [folder / entry.sha256 for entry in distinct]
    begun = time.perf_counter()
    descriptors = [os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC) for path in paths]
    try:
        parts = [
            (_url(repository, entry), start, end, fd)
            for entry, fd in zip(distinct, descriptors, strict=True)
            for start, end in plan_parts(entry.size)
        ]
        uvloop.run(_download(iter(parts)))
        return time.perf_counter() - begun
    finally:
        for fd, path in zip(descriptors, paths, strict=True):
            os.close(fd)
            path.unlink()


def _url(repository: Repository, entry: FileEntry) -> str:
    source = repository.blob_sources(entry.sha256, entry.size)
    if not isinstance(source, UrlSource):
        raise BenchError("the repository is not one that is downloaded from")
    return source.url


async def _download(parts: Iterator[Part]) -> None:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        connector=connector, read_bufsize=_READ_BUFFER_BYTES, auto_decompress=False
    ) as session:
        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(_connection(session, parts))


async def _connection(session: aiohttp.ClientSession, parts: Iterator[Part]) -> None:
    for url, start, end, fd in parts:
        headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
        async with session.get(url, headers=headers) as response:
            if response.status not in (200, 206):
                raise BenchError(f"the store answered a ranged GET with {response.status}")
            async for data in response.content.iter_any():
                start += os.pwrite(fd, data, start)
        if start != end:
            raise BenchError(f"a ranged GET ended {end - start} bytes early")
