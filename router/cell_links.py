"""A gateway's connections to one cell, and the check that its Redis is that cell's."""

from __future__ import annotations

from collections.abc import Iterable

from redis.asyncio import Redis

from router.catalog.versions import LoadedVersions
from shared.cell_list import CellAddress
from shared.channel import Channel
from shared.connection import open_redis, redis_errors
from shared.errors import ConfigError
from shared.keys import Keys
from shared.location import followed, location_of
from shared.scripts import GatewayScripts

CHANNELS = 6
CONNECTIONS = CHANNELS + 1  # and one for what is asked rarely, which takes up to 16


class CellLinks:
    """Opened by their first use."""

    def __init__(self, address: CellAddress) -> None:
        self.name, self.url = address.name, address.redis_url
        self.keys = Keys(address.name)
        self.location = location_of(self.url, self.name)
        self.client: Redis = open_redis(self.url, self.name)
        # Each blocking reader has a channel of its own: it would delay the commands behind it.
        self._channels = [Channel(self.url, self.name) for _ in range(CHANNELS)]
        self.calls, self.replies, self.ingress, self.outbox, self.news, self.lists = self._channels
        self.scripts = GatewayScripts(self.calls, self.keys)
        self.loaded = LoadedVersions(self.calls, self.keys, self.scripts)

    async def refuse_others(self, links: Iterable[CellLinks]) -> None:
        """ConfigError if another of these cells lives in this Redis, and is said to live elsewhere.
        Unavailable."""
        for other in links:
            if other.name == self.name or self._shares_with(other):
                continue
            if await self._holds(other):
                raise ConfigError(
                    f"its Redis holds cell {other.name!r}, which the list has at another Redis: "
                    f"are the two exchanged? (Keys left by a cell that has moved: delete "
                    f"{other.keys.prefix}:* there)"
                )

    async def database(self) -> tuple[str, int]:
        """What names its Redis, whatever the address. Unavailable."""
        return await self._database(self.client, self.keys)

    def _shares_with(self, other: CellLinks) -> bool:
        """Whether the list plainly has both at one Redis, or in one Redis Cluster."""
        return other.url == self.url or self.location.has_node(other.location.named)

    async def _holds(self, other: CellLinks) -> bool:
        """Whether that cell is in this Redis, or Redis Cluster, and its own address leads to
        another one."""
        if not self.location.in_cluster:
            return await self._has(self.client, other)
        client = open_redis(self.url, other.name, connections=1)  # another node may have it
        try:
            return await self._has(client, other)
        finally:
            await client.aclose()

    async def _has(self, client: Redis, other: CellLinks) -> bool:
        with redis_errors():
            if not await followed(lambda: client.exists(other.keys.epoch)):
                return False
        return await self._database(client, other.keys) != await other.database()

    async def _database(self, client: Redis, keys: Keys) -> tuple[str, int]:
        with redis_errors():
            await followed(lambda: client.exists(keys.prefix))
            info = await client.info("server")
        return info["run_id"], self.location.database

    async def aclose(self) -> None:
        """Close them all."""
        for channel in self._channels:
            await channel.aclose()
        await self.client.aclose()
