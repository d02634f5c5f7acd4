"""Stores to test against, as fixtures: two S3 servers, a folder, and a proxy before one of them."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from deploy.local.s3_server import start_s3
from shared.manifest import FileEntry
from shared.repository import Repository, open_repository
from tests.helpers.store_proxy import Proxy, start
from tests.helpers.stores import Store, stored


@pytest.fixture(scope="session")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A real S3 server: signatures, conditions, ranges, multipart."""
    server = start_s3(tmp_path_factory.mktemp("weed"))
    yield Store(server.endpoint_url, server.access_key, server.secret_key, server.bucket)
    server.stop()


@pytest.fixture(scope="session")
def moto() -> Iterator[Store]:
    """A second S3, so that nothing is written to one server's quirks."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    store = Store(f"http://{host}:{port}", "moto", "moto", "models")
    store.client().create_bucket(Bucket=store.bucket)
    yield store
    server.stop()


@pytest.fixture(params=["weed", "moto", "folder"])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Repository:
    """An empty repository of each kind in turn."""
    if request.param == "folder":
        root = tmp_path / "repository"
        root.mkdir()
        return open_repository(root.as_uri())
    store: Store = request.getfixturevalue(request.param)
    return store.repository(uuid.uuid4().hex)


@pytest.fixture
def folder(tmp_path: Path) -> Repository:
    """An empty file:// repository."""
    (tmp_path / "repository").mkdir()
    return open_repository((tmp_path / "repository").as_uri())


@pytest.fixture
async def proxy(weed: Store) -> AsyncIterator[Proxy]:
    """A proxy before the real S3 server."""
    made = Proxy(weed.endpoint_url)
    runner = await start(made)
    yield made
    await runner.cleanup()


@pytest.fixture
def prefix() -> str:
    """A prefix that no other test uses."""
    return uuid.uuid4().hex


@pytest.fixture
def proxied(weed: Store, proxy: Proxy, prefix: str) -> Repository:
    """An empty repository reached through the proxy."""
    return weed.repository(prefix, proxy.url)


@pytest.fixture
def direct(weed: Store, prefix: str) -> Repository:
    """The repository of `proxied` without the proxy, whose loop its blocking calls would stop."""
    return weed.repository(prefix)


@pytest.fixture
def blob(direct: Repository, tmp_path: Path) -> FileEntry:
    """A blob of three parts in the store."""
    return stored(direct, tmp_path, {"blob": 9 << 20})[0]
