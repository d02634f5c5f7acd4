"""One cell for the whole table, over a folder as repository."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.stack import Stack
from tests.system.setup import open_stack

MEMORY_BYTES = 256 << 20
LEASE_S = "20"  # a worker that a busy machine holds up keeps what it has been given


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A gateway, and a worker that has room for all of them."""
    folder = tmp_path_factory.mktemp("exports")
    settings = {"WARMROUTE_MEMORY_BYTES": str(MEMORY_BYTES), "WARMROUTE_LEASE_S": LEASE_S}
    with open_stack(folder, **settings) as opened:
        opened.add_gateway()
        opened.add_worker(WARMROUTE_MEMORY_BYTES=str(MEMORY_BYTES))
        yield opened


@pytest.fixture(autouse=True)
def trusted(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """`warmroute push` finds the repository as its user's shell would have it."""
    monkeypatch.setenv("MODEL_REPOSITORY", stack.servers.repository_url)
    monkeypatch.setenv("WARMROUTE_TRUST_CODE", stack.servers.repository_url)
