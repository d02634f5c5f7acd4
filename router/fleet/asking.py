"""Plain reads of Redis, many at a time, in rounds of bounded length."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

from router.fleet.replies import is_of_another_type
from shared.channel import Channel
from shared.connection import redis_errors
from shared.keys import Keys
from shared.redis_decode import cell_ms, is_alive, pairs

AT_ONCE = 100  # commands: of the event loop they take less than a millisecond
SCANNED = 500  # members that one scan of a key asks for

Command = tuple[Any, ...]  # in capitals, and its arguments


class Asking:
    """Reads over a channel that no request waits for."""

    def __init__(self, channel: Channel, keys: Keys) -> None:
        self._channel = channel
        self._keys = keys

    async def now_ms(self) -> int:
        """The cell's clock."""
        return cell_ms(*await self.ask([("TIME",), ("GET", self._keys.clock)]))

    async def ask(self, commands: Sequence[Command], any_type: bool = False) -> list[Any]:
        """The replies to commands, of HGETALL as a dictionary, in as few round trips as possible;
        with `any_type` the error of one whose key holds another type is its reply."""
        answers: list[Any] = []
        for at in range(0, len(commands), AT_ONCE):
            part = commands[at : at + AT_ONCE]
            with redis_errors():
                replies = await self._channel.execute_all(part)
                for (name, *_), reply in zip(part, replies, strict=True):
                    if isinstance(reply, Exception):
                        if not (any_type and is_of_another_type(reply)):
                            raise reply
                    elif name == "HGETALL":
                        reply = pairs(reply)
                    answers.append(reply)
        return answers

    async def each(
        self, names: Sequence[str], commands_of: Callable[[str], tuple[Command, ...]]
    ) -> dict[str, list[Any]]:
        """The replies to the same commands for each name. A name whose key holds something else
        (of another release, say) is left out: it must not hide the others."""
        commands = [command for name in names for command in commands_of(name)]
        answers = await self.ask(commands, any_type=True)
        each = len(commands) // len(names) if names else 1
        rows = (answers[at : at + each] for at in range(0, len(answers), each))
        return {
            name: row
            for name, row in zip(names, rows, strict=True)
            if not any(is_of_another_type(reply) for reply in row)
        }

    async def scan(self, command: str, key: str, cursor: int = 0) -> tuple[int, list[Any]]:
        """Some members of a key by `SSCAN` or `ZSCAN` (then each with its score), and the cursor of
        the next ones; 0 at the end. A member may come twice."""
        ((found, members),) = await self.ask([(command, key, cursor, "COUNT", SCANNED)])
        if command == "ZSCAN":
            members = [(name, float(score)) for name, score in pairs(members).items()]
        return int(found), members

    async def scanned(self, command: str, key: str) -> AsyncIterator[Any]:
        """All members of a key that are there from the first to the last read."""
        cursor, first = 0, True
        while first or cursor:
            cursor, members = await self.scan(command, key, cursor)
            first = False
            for member in members:
                yield member

    async def live_among(self, names: Iterable[str], now_ms: int) -> set[str]:
        """The workers whose lease is valid, of some."""
        asked = sorted(set(names))
        found: set[str] = set()
        for at in range(0, len(asked), SCANNED):
            part = asked[at : at + SCANNED]
            (leases,) = await self.ask([("ZMSCORE", self._keys.workers, *part)])
            found.update(
                name
                for name, lease in zip(part, leases, strict=True)
                if lease is not None and is_alive(float(lease), now_ms)
            )
        return found
