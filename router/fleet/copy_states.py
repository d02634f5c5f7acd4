"""The states of models in the fleet: ready, loading, failed or waiting. One pipeline for many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from router.fleet.replies import replies_of
from shared.connection import redis_errors
from shared.envelope import unpack_error
from shared.errors import Quarantined, WarmrouteError
from shared.keys import Keys
from shared.redis_decode import alive, cell_ms, text_of

READY, LOADING, FAILED, WAITING = "ready", "loading", "failed", "waiting"


@dataclass(frozen=True)
class CopyState:
    """`copies`: worker -> `tier bytes since`, of live workers that hold the model. `lease`: token
    of a load under way; `extra`: why it was ordered without a request. `error`: of the last
    load."""

    copies: dict[str, str]
    lease: str = ""
    extra: str = ""
    error: WarmrouteError | None = None

    @property
    def state(self) -> str:
        """ready, loading, failed, or waiting: a load will be ordered."""
        if self.copies:
            return READY
        if self.lease:
            return LOADING
        return FAILED if self.error else WAITING

    def document(self) -> dict[str, Any]:
        """The state as JSON."""
        shown: dict[str, Any] = {"state": self.state}
        if self.copies:
            shown["workers"] = sorted(self.copies)
        elif self.state == FAILED and self.error is not None:
            shown |= {"error": self.error.message, "code": self.error.code}
        return shown


class CopyStates:
    """Reads by a client of its own: many models must not delay requests."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    async def live(self) -> set[str]:
        """Workers whose lease is valid."""
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
            replies = await replies_of(pipe, {}, [None, None], None, [None, None])
        rows = zip(replies[::4], replies[1::4], replies[2::4], replies[3::4], strict=True)
        return [_state(*row, live, now) for row in rows]

    async def held(self, name: str, version: int | None) -> list[str]:
        """References of a model's versions that live workers hold; of one version, if it is given.
        They include digests that are not in the repository any more."""
        live = await self.live()
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            for worker in live:
                pipe.smembers(self._keys.holds(worker))
            sets: Iterable[Any] = await replies_of(pipe, ())
        start = f"{name}:" if version is None else f"{name}:{version}:"
        refs = {ref.decode() for found in sets for ref in found}
        refs |= (await self.leaving(name)).keys()
        return sorted(ref for ref in refs if ref.startswith(start))

    async def leaving(self, name: str) -> dict[str, set[str]]:
        """Ref -> workers that drain a retired copy of a model and have not freed it yet: what
        `retire` noted and the worker has not deleted. A worker that has died drains nothing."""
        key = self._keys.leaving(name)
        with redis_errors():
            noted: Any = await self._client.hgetall(key)
            copies = [field.decode().partition(" ") for field in noted]
            pipe = self._client.pipeline(transaction=False)
            for _, _, worker in copies:
                pipe.hget(self._keys.worker(worker), "epoch")
            epochs = await replies_of(pipe, None)
        found: dict[str, set[str]] = {}
        for (ref, _, worker), epoch, now in zip(copies, noted.values(), epochs, strict=True):
            if epoch == now:
                found.setdefault(ref, set()).add(worker)
        return found

    async def pins(self, ref: str) -> tuple[bool, list[str]]:
        """Whether its policy pins it, and the sessions that do."""
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            pipe.hget(self._keys.policy(ref), "pin")
            pipe.hget(self._keys.stats(ref), "pin")
            pipe.smembers(self._keys.pinned(ref))
            override, given, sessions = await replies_of(pipe, None, None, ())
        by_policy = (given if override is None else override) == b"1"
        return by_policy, sorted(session.decode() for session in sessions)

    async def _now_and_live(self) -> tuple[int, set[str]]:
        with redis_errors():
            pipe = self._client.pipeline(transaction=False)
            pipe.time()
            pipe.get(self._keys.clock)
            pipe.zrange(self._keys.workers, 0, -1, withscores=True)
            clock, noted, leases = await pipe.execute()
        now = cell_ms(clock, noted)
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
