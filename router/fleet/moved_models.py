"""Models that belong to another cell by now: nothing keeps them in this one any more.

A cell that was added takes models from the others. Requests that were accepted before end where
they are, and idle copies are evicted as others need their memory; only `min_copies` would keep
copies for ever. A second look changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from shared.channel import Channel
from shared.connection import redis_errors
from shared.errors import InvalidInput
from shared.keys import Keys
from shared.names import ModelRef
from shared.scripts import GatewayScripts

LOOK_EVERY_S = 30.0
SCANNED = 500  # members that one scan asks for


class MovedModels:
    """`owns`: whether a model belongs to this cell."""

    def __init__(
        self, channel: Channel, keys: Keys, scripts: GatewayScripts, owns: Callable[[str], bool]
    ) -> None:
        self._channel = channel
        self._keys = keys
        self._scripts = scripts
        self._owns = owns

    async def run_once(self) -> int:
        """Let go of those that have a minimum number of copies here; how many."""
        found, cursor = 0, b"0"
        while True:
            with redis_errors():
                cursor, members = await self._channel.execute_command(
                    "SSCAN", self._keys.min_copies, cursor, "COUNT", SCANNED
                )
            moved = [ref for ref in map(_parsed, members) if ref and not self._owns(ref.name)]
            for ref in moved:
                await self._scripts.order_copy(str(ref), 0)
            found += len(moved)
            if int(cursor) == 0:
                return found


def _parsed(member: bytes) -> ModelRef | None:
    """None for what another release may have written."""
    try:
        return ModelRef.parse(member.decode(errors="replace"))
    except InvalidInput:
        return None
