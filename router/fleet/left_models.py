"""Models that have left the repository while no gateway looked: nothing keeps them any more.

A gateway lets go of what it has seen there before (`catalog/newest.py`, `preload.py`). One that was
started later has not seen it: a pinned copy would hold its memory for ever, of a model that nobody
can ask for. So the models that a few workers hold are compared with the repository from time to
time. What a listing lacks may be newer than the listing, so the repository is asked once more.
"""

from __future__ import annotations

import asyncio
from typing import Any

from router.catalog.catalog import Catalog
from router.catalog.listing import Listing
from router.catalog.recent import Recent
from shared.channel import Channel
from shared.connection import redis_errors
from shared.errors import InvalidInput, RepositoryError
from shared.keys import Keys
from shared.names import ModelRef
from shared.scripts import GatewayScripts

LOOK_EVERY_S = 30.0
WORKERS = 16  # that a round looks at, drawn at random
MOST_ASKED = 32  # models of which a round asks the repository
MOST_KNOWN = 1000


class LeftModels:
    """`run_once` is one round."""

    def __init__(
        self, channel: Channel, keys: Keys, scripts: GatewayScripts, catalog: Catalog
    ) -> None:
        self._channel = channel
        self._keys = keys
        self._scripts = scripts
        self._catalog = catalog
        self._left: Recent[str, bool] = Recent(MOST_KNOWN)  # nothing keeps them any more

    async def run_once(self) -> int:
        """Let go of what has left the repository; how many. A store that is away lets nothing
        go."""
        try:
            listing = await self._catalog.latest()
            left = [ref for ref in await self._held() if _lacks(listing, ref)]
            gone = [ref for ref in left[:MOST_ASKED] if await self._has_left(ref)]
        except RepositoryError:
            return 0
        for ref in gone:
            await self._scripts.order_copy(str(ref), 0)
            self._left.put(str(ref), True)
        return len(gone)

    async def _held(self) -> list[ModelRef]:
        """What some workers hold, apart from what is known to have left."""
        ask = self._channel.execute_command
        with redis_errors():
            workers = await ask("ZRANDMEMBER", self._keys.workers, WORKERS)
            held: list[Any] = await asyncio.gather(
                *(ask("SMEMBERS", self._keys.holds(worker.decode())) for worker in workers)
            )
        names = {raw.decode(errors="replace") for refs in held for raw in refs}
        return [ref for ref in map(_parsed, sorted(names)) if ref and str(ref) not in self._left]

    async def _has_left(self, ref: ModelRef) -> bool:
        return ref.version not in await self._catalog.versions(ref.name)


def _lacks(listing: Listing, ref: ModelRef) -> bool:
    """Whether a listing lacks the version. A model that could not be read is not lacking."""
    row = listing.get(ref.name)
    return row is None or (not row.error and ref.version not in row.versions)


def _parsed(name: str) -> ModelRef | None:
    """None for what another release may have written."""
    try:
        return ModelRef.parse(name)
    except InvalidInput:
        return None
