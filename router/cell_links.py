"""A gateway's connections to one cell, and the check that its Redis is that cell's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from redis.asyncio import Redis

from router.catalog.versions import LoadedVersions
from shared.cell_list import CellAddress
from shared.channel import Channel
from shared.connection import open_redis, redis_errors
from shared.errors import ConfigError
from shared.keys import Keys
from shared.redis_url import options_of
from shared.scripts import GatewayScripts

CHANNELS = 6
CONNECTIONS = CHANNELS + 1  # and one for what is asked rarely, which takes up to 16


class CellLinks:
    """Opened by their first use."""

    def __init__(self, address: CellAddress) -> None:
        self.name, self.url = address.name, address.redis_url
        self.keys = Keys(address.name)
        self.client: Redis = open_redis(self.url)
        # Each blocking reader has a channel of its own: it would delay the commands behind it.
        self._channels = [Channel(self.url) for _ in range(CHANNELS - 1)]
        self.calls, self.replies, self.ingress, self.outbox, self.news = self._channels
        self.lists = Channel(self.url, at_once=False)  # that may be long
        self._channels.append(self.lists)
        self.scripts = GatewayScripts(self.calls, self.keys)
        self.loaded = LoadedVersions(self.calls, self.keys, self.scripts)

    async def refuse_others(self, links: Iterable[CellLinks]) -> None:
        """ConfigError if another of these cells lives in this Redis, and is said to live elsewhere.
        Unavailable."""
        others = {other.keys.epoch: other for other in links if other.name != self.name}
        for epoch, other in others.items():
            with redis_errors():
                is_there = await self.calls.execute_command("EXISTS", epoch)
            if is_there and await other.database() != await self.database():
                raise ConfigError(
                    f"its Redis holds cell {other.name!r}, which the list has at another Redis: "
                    f"are the two exchanged? (Keys left by a cell that has moved: delete "
                    f"{other.keys.prefix}:* there)"
                )

    async def database(self) -> tuple[Any, ...]:
        """What names its Redis, whatever the address. Unavailable."""
        with redis_errors():
            info = await self.client.info("server")
        return info["run_id"], int(options_of(self.url).get("db") or 0)

    async def aclose(self) -> None:
        """Close them all."""
        for channel in self._channels:
            await channel.aclose()
        await self.client.aclose()
