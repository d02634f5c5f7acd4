"""Starts the cells of a gateway. One that is away does not keep the others from their callers: it
is checked and started once its Redis answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import NamedTuple

import redis.exceptions

from router.cell import Cell
from router.cell_links import CONNECTIONS, CellLinks
from shared.config import RouterConfig
from shared.connection import redis_errors
from shared.errors import ConfigError, Unavailable
from shared.location import followed
from shared.redis_check import check_redis
from shared.redis_kind import check_kind
from shared.tasks import BackgroundTasks

log = logging.getLogger(__name__)

RETRY_S = 1.0
REFUSES = redis.exceptions.AuthenticationError, redis.exceptions.ResponseError
MOVES = redis.exceptions.AskError, redis.exceptions.ClusterDownError


class Member(NamedTuple):
    """A cell, and the connections to it."""

    links: CellLinks
    cell: Cell


class CellStarts:
    """`start` and `stop` of all cells."""

    def __init__(self, members: Sequence[Member], config: RouterConfig) -> None:
        self._members = list(members)
        self._config = config
        self._later: BackgroundTasks[None] = BackgroundTasks()

    async def start(self) -> None:
        """Check each cell and start it. ConfigError names the setting that is wrong; it is raised
        too if not one cell can be used."""
        if len(self._members) == 1:
            await self._begin(self._members[0])
            return
        tries = (self._try(member) for member in self._members)
        found = await asyncio.gather(*tries, return_exceptions=True)
        away = [member for member in found if isinstance(member, Member)]
        errors = [error for error in found if isinstance(error, BaseException)]
        if len(away) == len(self._members):
            errors.append(ConfigError("WARMROUTE_CELLS: the Redis of no cell answers"))
        if errors:
            await self.stop()
            raise errors[0]
        for member in away:
            log.warning("cell %s: its Redis does not answer; it is started later", member.cell.name)
            self._later.start(self._retry(member))

    async def stop(self) -> None:
        """End the tries, then all cells at a time."""
        await self._later.finish(0)
        await asyncio.gather(*(member.cell.stop() for member in self._members))

    async def _try(self, member: Member) -> Member | None:
        """The cell itself if its Redis does not answer."""
        try:
            await _knock(member.links)
            await self._begin(member)
        except Unavailable:
            return member
        except ConfigError as error:
            named = f"WARMROUTE_CELLS: cell {member.cell.name!r}"
            raise ConfigError(error.message.replace("REDIS_URL", named, 1)) from None
        return None

    async def _retry(self, member: Member) -> None:
        away = True
        while away:
            await asyncio.sleep(RETRY_S)
            try:
                away = await self._try(member) is not None
            except ConfigError as error:
                log.error("%s; it is not used", error.message)
                member.cell.health.refused = error.message
                await member.links.aclose()
                return
        log.info("cell %s: started", member.cell.name)

    async def _begin(self, member: Member) -> None:
        links, strict = member.links, bool(self._config.strict)
        await check_kind(links.client, links.keys, links.url)
        for warning in await check_redis(
            links.client, links.url, cell=links.name, strict=strict, connections=CONNECTIONS
        ):
            log.warning("Redis%s: %s", f" of cell {links.name}" if self._many else "", warning)
        try:
            await links.refuse_others(other.links for other in self._members)
        except ConfigError as error:
            raise ConfigError(f"REDIS_URL: {error.message}") from None
        await member.cell.start()

    @property
    def _many(self) -> bool:
        return len(self._members) > 1


async def _knock(links: CellLinks) -> None:
    """Unavailable if its Redis does not answer, or no node of its Redis Cluster has the cell. One
    that refuses does answer: its check shows what is wrong."""
    try:
        with redis_errors():
            await followed(lambda: links.client.exists(links.keys.prefix))
    except Unavailable as error:
        if not isinstance(error.__cause__, REFUSES) or isinstance(error.__cause__, MOVES):
            raise
