"""Whether a cell has an idempotency key: a request may be older than the place of its model."""

from __future__ import annotations

import hashlib

from shared.channel import Channel
from shared.connection import redis_errors
from shared.keys import Keys


class KeyLookup:
    """Looks a key up without using it."""

    def __init__(self, channel: Channel, keys: Keys) -> None:
        self._channel = channel
        self._keys = keys

    async def has(self, key: str) -> bool:
        """Whether a request was accepted under the key; Unavailable."""
        digest = hashlib.sha1(key.encode(), usedforsecurity=False).hexdigest()
        with redis_errors():
            found = await self._channel.execute_command("EXISTS", self._keys.idempotency(digest))
        return bool(found)
