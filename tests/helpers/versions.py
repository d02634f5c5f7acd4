"""A gateway's catalog over a repository in memory, and a worker that the tests play."""

from __future__ import annotations

from router.catalog.catalog import Catalog
from router.catalog.versions import LoadedVersions
from shared.errors import Unavailable
from shared.manifest import ref_of
from tests.helpers.cell import LEASE_MS, Cell
from tests.helpers.factories import manifest
from tests.helpers.repository import FakeRepository
from tests.helpers.wait import wait_until

NAME = "mnist"


class World:
    """A gateway's catalog over a repository in memory, and a worker that the tests play."""

    def __init__(self, cell: Cell, repository: FakeRepository, ttl_s: float = 0.0) -> None:
        self.cell, self.repository = cell, repository
        self.live = LoadedVersions(cell.channel, cell.keys, cell.scripts)
        self.catalog = Catalog(repository, ttl_s, self.live)
        self.epoch = ""

    def push(self, version: int, **changes: object) -> str:
        made = manifest(version=version, **changes)
        return str(ref_of(made, self.repository.add(made)))

    async def load(self, ref: str) -> None:
        """The worker holds it."""
        await self.cell.scripts.announce("w1", self.epoch, ref, "", "device 1")

    async def free(self, ref: str) -> None:
        await self.cell.scripts.retire("w1", self.epoch, ref)

    async def carry_out(self, ref: str, cause: str = "") -> None:
        """The order that was given for it, with success or for a `cause`."""
        await wait_until(lambda: self.cell.token(ref))
        token = await self.cell.claim("w1", self.epoch, ref)
        if cause:
            await self.cell.scripts.fail_load("w1", ref, token, cause.encode(), 60_000)
        else:
            await self.cell.scripts.announce("w1", self.epoch, ref, token, "device 1")

    async def served(self, patience_s: float = 0.0) -> int:
        return (await self.catalog.resolve(NAME, patience_s=patience_s)).ref.version

    async def serves(self, version: int) -> bool:
        return await self.served() == version


async def world_of(cell: Cell, repository: FakeRepository, ttl_s: float = 0.0) -> World:
    """One that trusts nothing that it has read, if not told otherwise."""
    made = World(cell, repository, ttl_s)
    made.epoch = await cell.worker("w1", lease_ms=10 * LEASE_MS)
    return made


async def away(name: str) -> dict[int, str]:
    """In place of what Redis would say."""
    raise Unavailable("Redis does not answer")
