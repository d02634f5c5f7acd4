"""Open requests: accepted and not ended, a page of them at a time, by deadline.

Read from `deadlines`, which has each request with a record until it ends: a page costs O(log n) and
its own rows, however many there are. Requests that have ended are in no list: they are read by id.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from router.fleet.load_status import time_of
from router.requests.records import read_record
from shared.connection import redis_errors
from shared.errors import InvalidInput, NotFound
from shared.keys import Keys

FIELDS = ("status", "model", "worker", "cold")
AT_ONCE = 100
_POSITION = re.compile(r"([0-9]{1,15})-([0-9a-f]{32})")


@dataclass(frozen=True)
class Page:
    """Rows as JSON; `next` is the `after` of the following page, None at the end."""

    rows: list[dict[str, Any]]
    next: str | None


class OpenRequests:
    """Reads pages of them, by a client of its own."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    async def page(self, limit: int, after: str = "") -> Page:
        """Up to `limit` requests from behind `after` on, the nearest deadline first. One that ends
        between two pages may move another to a page that was read already or twice."""
        with redis_errors():
            first = await self._rank(after) if after else 0
            found: Any = await self._client.zrange(
                self._keys.deadlines, first, first + limit - 1, withscores=True
            )
            rows = []
            for start in range(0, len(found), AT_ONCE):
                rows += await self._rows(found[start : start + AT_ONCE])
        whole = len(found) == limit
        return Page(rows, f"{int(found[-1][1])}-{found[-1][0].decode()}" if whole else None)

    async def _rank(self, after: str) -> int:
        """Where the page begins. The request that ended the last one may have ended meanwhile."""
        position = _POSITION.fullmatch(after)
        if position is None:
            raise InvalidInput("after: want the `next` of a page")
        deadline, request_id = position.groups()
        rank: Any = await self._client.zrank(self._keys.deadlines, request_id)
        if rank is not None:
            return int(rank) + 1
        return int(await self._client.zcount(self._keys.deadlines, "-inf", f"({deadline}"))

    async def _rows(self, found: list[tuple[bytes, float]]) -> list[dict[str, Any]]:
        pipe = self._client.pipeline(transaction=False)
        for request_id, _ in found:
            pipe.hmget(self._keys.request(request_id.decode()), FIELDS)
        records = await pipe.execute()
        rows = (_row(*one, values) for one, values in zip(found, records, strict=True))
        return [row for row in rows if row is not None]


def _row(request_id: bytes, deadline: float, values: list[bytes | None]) -> dict[str, Any] | None:
    """The row of a request; None if it has ended between the two reads."""
    fields = {name: value for name, value in zip(FIELDS, values, strict=True) if value is not None}
    try:
        record = read_record(request_id.decode(), fields)
    except NotFound:
        return None
    return None if record.terminal else record.document() | {"deadline": time_of(deadline)}
