"""Whether a gateway is ready, why not, and how many workers are live."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from router.fleet.probes import Probes
from shared import clock
from shared.channel import Channel
from shared.connection import redis_errors, refuses_data
from shared.errors import Unavailable, WarmrouteError
from shared.keys import Keys
from shared.redis_decode import after_ms, cell_ms, text_of
from shared.service import Supervisor

PING_S = 2.0  # a readiness check does not wait for long
LOOK_EVERY_S = 1.0
MOST_STATES = 256  # of more workers only the number is reported


class Health:
    """`min_workers`: the number of live workers without which a gateway is not ready."""

    def __init__(
        self, channel: Channel, keys: Keys, supervisor: Supervisor, min_workers: int = 0,
        redis_is_full: Callable[[], bool] = lambda: False,
    ) -> None:  # fmt: skip
        self._channel = channel
        self._keys = keys
        self._supervisor = supervisor
        self._stopping = False
        self.refused = ""  # why this cell is not used, although its Redis answers
        self._probes = Probes()
        self._min_workers = min_workers
        self._redis_is_full = redis_is_full
        self._looked = float("-inf")
        self._workers: dict[str, Any] = {}

    def note_probe(self, address: str, program: str) -> None:
        """A readiness check has come from a program at this address."""
        self._probes.note(address, program)

    def stop(self, longest_s: float) -> float:
        """Not ready from now on; the seconds for which this gateway should go on serving, until
        those that ask have noticed."""
        self._stopping = True
        return self._probes.needed_s(longest_s)

    async def document(self) -> dict[str, Any]:
        """The body of GET /v2/health/ready: `error` says why not; the number of live `workers` and
        their `states`, unless Redis does not answer."""
        reasons = self._supervisor.failing
        if self.refused:
            reasons.append(self.refused)
        if self._stopping:
            reasons.append("stopping")
        if self._redis_is_full():
            reasons.append("Redis's memory is nearly full: requests are refused")
        workers: dict[str, Any] = {}
        try:
            async with asyncio.timeout(PING_S):
                workers = await self._seen()
            if workers["workers"] < self._min_workers:
                reasons.append(
                    f"{workers['workers']} workers are live, "
                    f"WARMROUTE_MIN_WORKERS is {self._min_workers}"
                )
        except WarmrouteError as error:
            reasons.append(error.message)
        except TimeoutError:
            reasons.append("Redis did not answer in time")
        why_not = {"error": "; ".join(reasons)} if reasons else {}
        return {"live": True, "ready": not reasons, **workers, **why_not}

    async def _seen(self) -> dict[str, Any]:
        """Live workers, by Redis's clock; read at most once a second."""
        ask = self._channel.execute_command
        if clock.monotonic() - self._looked < LOOK_EVERY_S:
            with redis_errors():
                await ask("PING")
            return self._workers
        with redis_errors():
            noted, time = await asyncio.gather(ask("GET", self._keys.clock), ask("TIME"))
            now = after_ms(cell_ms(time, noted))
            number = await ask("ZCOUNT", self._keys.workers, now, "+inf")
            states = await self._states(now) if 0 < number <= MOST_STATES else {}
        self._workers = {"workers": number, **({"states": states} if states else {})}
        self._looked = clock.monotonic()
        return self._workers

    async def _states(self, now: str) -> dict[str, int]:
        ask = self._channel.execute_command
        live = await ask("ZRANGEBYSCORE", self._keys.workers, now, "+inf", "LIMIT", 0, MOST_STATES)
        states = await asyncio.gather(*(self._state(worker.decode()) for worker in live))
        return dict(Counter(states))

    async def _state(self, worker: str) -> str:
        try:
            with redis_errors():
                found = await self._channel.execute_command(
                    "HGET", self._keys.worker(worker), "state"
                )
        except Unavailable as error:
            if not refuses_data(error):
                raise
            found = None  # the record of one worker does not make this gateway unready
        return text_of(found) or "unknown"
