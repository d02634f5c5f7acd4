"""Plain reads of Redis, many at a time, in pipelines of bounded length."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

from redis.asyncio import Redis

from router.fleet.replies import is_of_another_type
from shared.connection import redis_errors
from shared.keys import Keys
from shared.redis_decode import cell_ms, is_alive

# Commands at a time. 500 took the event loop up to 20 ms, and Redis 3 ms.
AT_ONCE = 200
SCANNED = 500  # members that one scan of a key asks for

Command = tuple[Any, ...]  # a method of redis-py, and its arguments


class Asking:
    """Reads by a client of its own."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    async def now_ms(self) -> int:
        """The cell's clock."""
        return cell_ms(*await self.ask([("time",), ("get", self._keys.clock)]))

    async def ask(self, commands: Sequence[Command], any_type: bool = False) -> list[Any]:
        """The replies to commands, in as few round trips as possible; with `any_type` the error of
        one whose key holds another type is its reply."""
        answers: list[Any] = []
        for at in range(0, len(commands), AT_ONCE):
            with redis_errors():
                pipe = self._client.pipeline(transaction=False)
                for name, *given in commands[at : at + AT_ONCE]:
                    getattr(pipe, name)(*given)
                replies = await pipe.execute(raise_on_error=not any_type)
                for reply in replies:
                    if isinstance(reply, Exception) and not is_of_another_type(reply):
                        raise reply
            answers += replies
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
        """Some members of a key by `sscan` or `zscan`, and the cursor of the next ones; 0 at the
        end. A member may come twice."""
        with redis_errors():
            found, members = await getattr(self._client, command)(key, cursor, count=SCANNED)
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
            (leases,) = await self.ask([("zmscore", self._keys.workers, part)])
            found.update(
                name
                for name, lease in zip(part, leases, strict=True)
                if lease is not None and is_alive(lease, now_ms)
            )
        return found
