from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.helpers.store_fixtures import (
    blob,
    direct,
    folder,
    moto,
    prefix,
    proxied,
    proxy,
    repository,
    weed,
)
from worker.weight_cache.cache import BlobCache
from worker.weight_cache.fetch import Fetcher
from worker.weight_cache.ranged import Retry

__all__ = ["blob", "direct", "folder", "moto", "prefix", "proxied", "proxy", "repository", "weed"]

QUICKLY = Retry(attempts=4, first_s=0.001, longest_s=0.01)


@pytest.fixture
async def make_cache(tmp_path: Path) -> AsyncIterator[Callable[..., BlobCache]]:
    """Makes caches on one root, whose fetchers retry quickly; closes them."""
    made: list[BlobCache] = []

    def make(budget_bytes: int = 1 << 30, root: Path = tmp_path / "cache") -> BlobCache:
        made.append(BlobCache(root, budget_bytes, Fetcher(retry=QUICKLY)))
        return made[-1]

    yield make
    for cache in made:
        await cache.close()


@pytest.fixture
def cache(make_cache: Callable[..., BlobCache]) -> BlobCache:
    """A cache with room enough."""
    return make_cache()
