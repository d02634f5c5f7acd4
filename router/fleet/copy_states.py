"""Where models stand in the fleet: ready, loading, failed or waiting. One pipeline for many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from shared.connection import redis_errors
from shared.envelope import unpack_error
from shared.errors import Quarantined, WarmrouteError
from shared.keys import Keys
from shared.redis_decode import alive, clock_ms, text_of

READY, LOADING, FAILED, WAITING = "ready", "loading", "failed", "waiting"


@dataclass(frozen=True)
class CopyState:
    """`copies`: worker -> `tier bytes since`, of live workers that hold the model. `lease`: token
    of a load under way, and `extra` why it was ordered although no request asked. `error`: why the
    last load failed."""

    copies: dict[str, str]
    lease: str = ""
    extra: str = ""
    error: WarmrouteError | None = None

    @property
    def word(self) -> str:
        """ready, loading, failed, or waiting: it will be ordered."""
        if self.copies:
            return READY
        if self.lease:
            return LOADING
        return FAILED if self.error else WAITING

    def document(self) -> dict[str, Any]:
        """What a caller is shown of it."""
        shown: dict[str, Any] = {"state": self.word}
        if self.copies:
            shown["workers"] = sorted(self.copies)
        elif self.word == FAILED and self.error is not None:
            shown |= {"error": self.error.message, "code": self.error.code}
        return shown


class CopyStates:
    """Reads by a client of its own: many models must not hold up the requests."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    async def live(self) -> set[str]:
        """Workers whose lease has not run out."""
        return (await self._now_and_live())[1]

    async def of(self, refs: Sequence[str]) -> list[CopyState]:
        """The state of each model version."""
        now, live = await self._now_and_live()
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            for ref in refs:
                pipe.hgetall(self._keys.holders(ref))
                pipe.hmget(self._keys.load(ref), "token", "extra")
                pipe.get(self._keys.unloadable(ref))
                pipe.hmget(self._keys.breaker(ref), "until", "cause")
            said: Any = await pipe.execute() if refs else []
        rows = zip(said[::4], said[1::4], said[2::4], said[3::4], strict=True)
        return [_state(*row, live, now) for row in rows]

    async def held(self, name: str, version: int | None) -> list[str]:
        """References of a model's versions that live workers hold; of one version, if it is given.
        Also of a digest that the repository no longer has."""
        live = await self.live()
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            for worker in live:
                pipe.smembers(self._keys.holds(worker))
            sets: Iterable[Any] = await pipe.execute() if live else []
        start = f"{name}:" if version is None else f"{name}:{version}:"
        refs = {ref.decode() for found in sets for ref in found}
        return sorted(ref for ref in refs if ref.startswith(start))

    async def leaving(self, ref: str, workers: Iterable[str]) -> set[str]:
        """Of these workers those whose memory still has a copy, retired or not, as they reported
        last: up to a second ago."""
        asked = sorted(workers)
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            for worker in asked:
                pipe.hget(self._keys.worker(worker), "copies")
            said: list[Any] = await pipe.execute() if asked else []
        quoted = f'"{ref}"'.encode()
        return {
            worker for worker, copies in zip(asked, said, strict=True) if quoted in (copies or b"")
        }

    async def pins(self, ref: str) -> tuple[bool, list[str]]:
        """Whether its policy pins it, and the sessions that do."""
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            pipe.hget(self._keys.policy(ref), "pin")
            pipe.hget(self._keys.stats(ref), "pin")
            pipe.smembers(self._keys.pinned(ref))
            override, given, sessions = await pipe.execute()
        by_policy = (given if override is None else override) == b"1"
        return by_policy, sorted(session.decode() for session in sessions)

    async def _now_and_live(self) -> tuple[int, set[str]]:
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            pipe.time()
            pipe.zrange(self._keys.workers, 0, -1, withscores=True)
            clock, leases = await pipe.execute()
        now = clock_ms(clock)
        return now, set(alive(leases, now))


def _state(
    holders: dict[bytes, bytes], lease: list[bytes | None], failed: bytes | None,
    breaker: list[bytes | None], live: set[str], now: int,
) -> CopyState:  # fmt: skip
    copies = {worker.decode(): text_of(held) for worker, held in holders.items()}
    error = unpack_error(failed.removeprefix(b"~")) if failed else None
    until, cause = map(text_of, breaker)
    if until and float(until) > now:
        error = Quarantined(f"this model version crashed workers, the last: {cause}")
    return CopyState(
        copies={worker: held for worker, held in copies.items() if worker in live},
        lease=text_of(lease[0]),
        extra=text_of(lease[1]),
        error=error,
    )
