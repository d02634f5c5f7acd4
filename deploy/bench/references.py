"""The processes and downloads that ours is compared with: a bare echo, and plain ranged GETs.

`running_echo` runs echo.py. `download_s` fetches a model version from S3 into files, without
hashing or cache, in the same parts and over as many connections as ours: what ours takes longer is
what ours adds. plain.py is the third reference.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import secrets
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import uvloop

from deploy.bench.measure import BenchError
from deploy.local.child import Child
from deploy.local.cluster import READY_S
from deploy.local.folders import CODE
from deploy.local.ports import LOOPBACK, reserved_ports
from deploy.local.processes import start, wait_ready
from shared.manifest import FileEntry
from shared.repository.base import Repository, UrlSource
from worker.weight_cache.fetch import CONNECTIONS
from worker.weight_cache.ranged import plan_parts

# Settings of the person who measures must not reach what is measured.
_OURS = frozenset({"REDIS_URL", "MODEL_REPOSITORY", "S3_ENDPOINT_URL", "S3_ADDRESSING_STYLE",
                   "S3_REQUESTER_PAYS", "PORT"})  # fmt: skip
_READ_BUFFER_BYTES = 1 << 20
Part = tuple[str, int, int, int]  # URL, [start, end), descriptor to write to


def environment() -> dict[str, str]:
    """This process's environment without settings of ours."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in _OURS and not name.startswith("WARMROUTE_")
    }


@dataclass(frozen=True)
class Echo:
    """A running echo."""

    port: int
    child: Child


@contextmanager
def running_echo(folder: Path) -> Iterator[Echo]:
    """A bare echo in a process of its own."""
    with reserved_ports(1) as (port,):
        child = start(
            [sys.executable, "-m", "deploy.bench.echo", str(port)],
            name="echo",
            log=folder / "echo.log",
            env=environment(),
            cwd=CODE,
        )
        try:
            wait_ready(child, lambda: _echoes(port), READY_S)
            yield Echo(port, child)
        finally:
            child.stop()


def _echoes(port: int) -> bool:
    """Whether it is our echo that answers on `port`, and not another server."""
    token = secrets.token_bytes(16)
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=1)
    try:
        connection.request("POST", "/v2/models/any/infer", body=token)
        return connection.getresponse().read() == token
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def download_s(repository: Repository, files: Iterable[FileEntry], folder: Path) -> float:
    """Download the distinct blobs of `files` into `folder`; the seconds it took, signing included.
    The files are removed again."""
    distinct = {entry.sha256: entry for entry in files}.values()
    paths = [folder / entry.sha256 for entry in distinct]
    started = time.perf_counter()
    descriptors = [os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC) for path in paths]
    try:
        parts = [
            (_url(repository, entry), start, end, fd)
            for entry, fd in zip(distinct, descriptors, strict=True)
            for start, end in plan_parts(entry.size)
        ]
        uvloop.run(_download(iter(parts)))
        return time.perf_counter() - started
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
    for url, at, end, fd in parts:
        headers = {"Range": f"bytes={at}-{end - 1}", "Accept-Encoding": "identity"}
        async with session.get(url, headers=headers) as response:
            if response.status not in (200, 206):
                raise BenchError(f"the store answered a ranged GET with {response.status}")
            async for data in response.content.iter_any():
                at += os.pwrite(fd, data, at)
        if at != end:
            raise BenchError(f"a ranged GET ended {end - at} bytes early")
