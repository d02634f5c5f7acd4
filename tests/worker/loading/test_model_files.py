"""What a model maps stays within the disk's budget: pinned until the copy is freed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from shared.errors import DiskFull
from shared.footprint import Footprint
from shared.manifest import FileEntry, Manifest
from shared.repository import Repository
from tests.helpers.evicting import Model
from tests.helpers.factories import manifest
from tests.helpers.store_fixtures import folder
from tests.helpers.stores import stored
from worker.loading.model_files import ModelFiles, NoMemoryNow
from worker.residency.context import WorkerContext
from worker.residency.copies import Copy
from worker.residency.demotion import Demotion
from worker.residency.host_tier import HostTier
from worker.weight_cache.cache import BlobCache

__all__ = ["folder"]


class Memory:
    """Evicts copies of `only` that are not in use, the first first."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    async def evict_one(self, reason: str, only: Collection[str]) -> bool:
        idle = [c for c in self._bench.parts.copies.all() if not c.running and c.ref in only]
        for copy in idle[:1]:
            self._bench.free(copy.ref)
        return bool(idle)


@dataclass
class Bench:
    """A CPU worker whose cache holds 2500 bytes; each model has weights of 1000 and a program."""

    parts: WorkerContext
    cache: BlobCache
    repository: Repository
    make: Callable[[str, int], Manifest]

    def __post_init__(self) -> None:
        memory: Any = Memory(self)
        self.host = HostTier(5000, self.parts.device)
        self.demotion = Demotion(self.host, self.cache, self.repository)
        self.files = ModelFiles(self.parts, memory, self.host, self.repository, self.cache)

    async def load(self, name: str, size: int = 1000, *, evict: bool = True) -> Copy:
        """Fetch, and pin what the copy maps, as the pipeline does."""
        found = self.make(name, size)
        async with self.files.on_disk(name, found, evict=evict):
            mapped = self.files.pin(found)
        copy = Copy(name, found, Model(), Footprint(frozenset(), 1), mapped=mapped)
        self.parts.copies.add(copy)
        return copy

    def free(self, name: str, tier: str = "disk") -> None:
        self.demotion.freed(self.parts.copies.remove(name), tier)

    @property
    def held(self) -> set[str]:
        return {copy.ref for copy in self.parts.copies.all()}


@pytest.fixture
async def bench(parts: WorkerContext, folder: Repository, tmp_path: Path) -> AsyncIterator[Bench]:
    made: dict[str, Manifest] = {}

    def make(name: str, size: int) -> Manifest:
        if name not in made:
            weights, program = f"weights/{name}", f"program-{name}"
            entries = stored(folder, tmp_path, {weights: size, program: 10})
            renamed = [FileEntry(e.name.split("-")[0], e.sha256, e.size) for e in entries]
            made[name] = manifest(name=name, files=renamed)
        return made[name]

    cache = BlobCache(tmp_path / "cache", 2500)
    yield Bench(parts, cache, folder, make)
    await cache.close()


def on_disk(bench: Bench, tmp_path: Path) -> set[str]:
    """The models whose weights have a name."""
    blobs = {path.name for path in (tmp_path / "cache" / "sha256").iterdir()}
    names = ("a", "b", "c", "d")
    return {n for n in names if bench.make(n, 1000).files[0].sha256 in blobs}


async def test_a_load_evicts_what_maps_the_disk_full(bench: Bench, tmp_path: Path) -> None:
    """Never the blob alone: its blocks would stay taken, and no budget would see them."""
    await bench.load("a")
    await bench.load("b")
    await bench.load("c")
    assert bench.held == {"b", "c"}
    assert on_disk(bench, tmp_path) == {"b", "c"}
    assert bench.cache.used_bytes <= 2500


@pytest.mark.parametrize("evict", [True, False])
async def test_copies_in_use_stay_and_another_worker_may_load(bench: Bench, evict: bool) -> None:
    """So do all where nothing may be evicted."""
    for name in ("a", "b"):
        (await bench.load(name)).running = int(evict)
    with pytest.raises(NoMemoryNow, match="in use"):
        await bench.load("c", evict=evict)
    assert bench.held == {"a", "b"}


async def test_nothing_is_evicted_where_it_would_not_help(bench: Bench) -> None:
    """A disk that others have filled is a full disk."""
    await bench.load("a")
    pinned = bench.make("b", 1000).files
    await bench.cache.ensure(bench.repository, pinned)  # by a load that is under way
    with pytest.raises(DiskFull):
        await bench.load("d", 2400)
    assert bench.held == {"a"}


async def test_a_freed_copy_unpins(bench: Bench, tmp_path: Path) -> None:
    """From then on its blobs may be evicted without it."""
    await bench.load("a")
    await bench.load("b")
    bench.free("a")
    await bench.load("c")
    assert bench.held == {"b", "c"} and on_disk(bench, tmp_path) == {"b", "c"}


async def test_the_host_tier_of_a_cpu_maps_too(bench: Bench, tmp_path: Path) -> None:
    """So its blobs stay pinned until the model is dropped from there."""
    await bench.load("a")
    bench.free("a", "host")
    for move in list(bench.demotion._moving):
        await move
    assert bench.host.holds("a")
    await bench.load("b")
    with pytest.raises(NoMemoryNow):
        await bench.load("c", evict=False)
    assert on_disk(bench, tmp_path) == {"a", "b"}
    bench.host.drop("a")
    await bench.load("c", evict=False)
    assert on_disk(bench, tmp_path) == {"b", "c"}
    await bench.host.close()
