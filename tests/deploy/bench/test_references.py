"""The references: a bare echo, and a raw download against a server that knows ranges."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web

from deploy.bench.load import volley
from deploy.bench.measure import BenchError
from deploy.bench.posts import check_echo, json_post
from deploy.bench.references import download_s, environment, running_echo
from deploy.local.process_tree import is_running as alive
from shared.manifest import FileEntry
from shared.repository.base import FileSource, UrlSource
from worker.weight_cache.ranged import plan_parts


class Store:
    """One folder of blobs over HTTP; remembers which ranges were asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[tuple[str, str]] = []
        self.port = 0

    def blob_sources(self, sha256: str, size: int) -> UrlSource:
        return UrlSource(f"http://127.0.0.1:{self.port}/{sha256}")

    async def get(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        self.asked.append((name, request.headers["Range"]))
        if not (self.folder / name).exists():
            return web.Response(status=404)
        return web.FileResponse(self.folder / name)

    def entry(self, content: bytes) -> FileEntry:
        sha256 = hashlib.sha256(content).hexdigest()
        (self.folder / sha256).write_bytes(content)
        return FileEntry("weights/0.safetensors", sha256, len(content))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    (tmp_path / "store").mkdir()
    store, loop = Store(tmp_path / "store"), asyncio.new_event_loop()
    up, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        app = web.Application()
        app.router.add_get("/{name}", store.get)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        store.port = runner.addresses[0][1]
        up.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert up.wait(10)
    yield store
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)
    loop.close()


def test_each_distinct_blob_is_asked_for_part_by_part(store: Store, tmp_path: Path) -> None:
    """The same parts as the fetcher's, each once; and nothing is left behind."""
    big, small = store.entry(bytes(9 << 20)), store.entry(b"x")
    into = tmp_path / "into"
    into.mkdir()
    assert download_s(store, [big, small, big], into) > 0
    wanted = [
        (entry.sha256, f"bytes={start}-{end - 1}")
        for entry in (big, small)
        for start, end in plan_parts(entry.size)
    ]
    assert sorted(store.asked) == sorted(wanted)
    assert len(wanted) > 2
    assert list(into.iterdir()) == []


def test_a_blob_that_is_not_there_is_no_download(store: Store, tmp_path: Path) -> None:
    """Or a quick 404 would pass for a quick store."""
    entry = FileEntry("weights/0.safetensors", "a" * 64, 10)
    with pytest.raises(ExceptionGroup) as raised:
        download_s(store, [entry], tmp_path)
    assert raised.group_contains(BenchError, match="404")


def test_a_folder_is_not_downloaded_from(tmp_path: Path) -> None:
    """A repository that needs no download has no such reference."""

    class Folder:
        def blob_sources(self, sha256: str, size: int) -> FileSource:
            return FileSource(tmp_path)

    with pytest.raises(BenchError, match="not one that is downloaded from"):
        download_s(Folder(), [FileEntry("a", "a" * 64, 1)], tmp_path)


def test_settings_of_the_person_who_measures_do_not_reach_what_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are left out; the rest of the environment is kept."""
    monkeypatch.setenv("WARMROUTE_PREFETCH", "1")
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere")
    monkeypatch.setenv("PORTRAIT", "kept")
    found = environment()
    assert "WARMROUTE_PREFETCH" not in found
    assert "REDIS_URL" not in found
    assert found["PORTRAIT"] == "kept"


def test_the_echo_ends_with_its_block(tmp_path: Path) -> None:
    """And gives back a body of 1 MiB whole until then."""
    posts = [json_post("any", {"x": np.zeros((1, 1 << 18), np.float32)})]
    with running_echo(tmp_path) as echo:
        for answer in volley(echo.port, posts).kept:
            check_echo(answer, posts)
        assert alive(echo.child.pid)
    assert not alive(echo.child.pid)
