"""Waits until an order that no request waits for may be given."""

from __future__ import annotations

import asyncio

from shared.channel import Channel
from shared.connection import redis_errors
from shared.keys import Keys
from shared.retry import until_answered

MAX_ORDERS = 8  # that wait in the cold queue
FULL_PAUSE_S = 0.5


class ShortQueue:
    """The cold queue of a cell, while it is short."""

    def __init__(self, channel: Channel, keys: Keys) -> None:
        self._channel = channel
        self._keys = keys

    async def turn(self) -> None:
        """Wait until there is a worker, and the cold queue is short."""
        while not await until_answered(self._may_order):  # noqa: ASYNC110 - the state is in Redis
            await asyncio.sleep(FULL_PAUSE_S)

    async def _may_order(self) -> bool:
        ask = self._channel.execute_command
        with redis_errors():
            waiting, workers = await asyncio.gather(
                ask("LLEN", self._keys.rq_queue()), ask("ZCARD", self._keys.workers)
            )
        return bool(workers) and waiting < MAX_ORDERS
