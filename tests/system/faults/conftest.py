"""One cell of real processes for these tests, over an S3 server that can be cut off.

Its store is behind a link of `tests/chaos/links.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.local.s3_server import S3Server, start_s3
from tests.chaos.links import Link, Links
from tests.helpers.models import Mlp, Slow, publish_mlp, publish_slow
from tests.helpers.stack import Stack


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Where the models live."""
    server = start_s3(tmp_path_factory.mktemp("s3"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def links() -> Iterator[Links]:
    """Makes ways that can be cut."""
    made = Links()
    yield made
    made.close()


@pytest.fixture(scope="session")
def store_link(store: S3Server, links: Links) -> Link:
    """The way to the store."""
    return links.to(store.endpoint_url)


@pytest.fixture(scope="session")
def cell(
    store: S3Server, store_link: Link, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """Gateways and workers are added by the tests."""
    settings = {
        "S3_ENDPOINT_URL": store_link.address,
        "WARMROUTE_CATALOG_TTL_S": "0.5",
        "WARMROUTE_UNLOADABLE_S": "1",
        "WARMROUTE_STUCK_S": "3",
    }
    with Stack(tmp_path_factory.mktemp("faults"), store, settings) as stack:
        yield stack


@pytest.fixture(scope="session")
def model(cell: Stack) -> Mlp:
    """A small network."""
    return publish_mlp(cell.repository, cell.folder)


@pytest.fixture(scope="session")
def slow(cell: Stack) -> Slow:
    """A model that takes as long as it is asked to."""
    return publish_slow(cell.repository, cell.folder)
