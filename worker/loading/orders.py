"""Orders to this worker by name: load this model, which it can have soonest, or free that one.

An order to load also lies in the cold queue, so one that is not taken here, or is lost with this
process, is taken by another worker after a head start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from shared.channel import Channel
from shared.connection import redis_errors
from shared.keys import Keys

log = logging.getLogger(__name__)

BLOCK_S = 1


class Orders:
    """Reads `orders:<worker>` over a channel of its own. `may_load`: whether a load could start;
    `load(ref, token)` answers at once, `unload(ref)` returns when the model is freed."""

    def __init__(
        self, channel: Channel, keys: Keys, worker: str, may_load: Callable[[], bool],
        load: Callable[[str, str], Coroutine[Any, Any, str]],
        unload: Callable[[str], Coroutine[Any, Any, object]],
    ) -> None:  # fmt: skip
        self._channel = channel
        self._list = keys.orders(worker)
        self._may_load = may_load
        self._load = load
        self._unload = unload
        self._unloading: set[asyncio.Task[object]] = set()

    async def run_once(self) -> str:
        """Wait for an order and begin it; the order, '' if there was none."""
        with redis_errors():
            found = await self._channel.execute_command("BLPOP", self._list, BLOCK_S)
        order = found[1].decode(errors="replace") if found else ""
        match order.split(" "):
            case ["load", ref, token, *_]:  # a newer release may add words
                if self._may_load():
                    await self._load(ref, token)
            case ["unload", ref, *_]:
                self._begin_to_unload(ref)
            case [""]:
                pass
            case _:
                log.warning("an order of an unknown kind is ignored: %.100r", order)
        return order

    def _begin_to_unload(self, ref: str) -> None:
        """It may have to drain first: other orders do not wait for that."""
        task = asyncio.create_task(self._unload(ref))
        self._unloading.add(task)
        task.add_done_callback(self._unloading.discard)
