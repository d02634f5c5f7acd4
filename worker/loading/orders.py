"""Orders to load or unload a model, over two ways: to this worker by name, and to all workers.

The scripts choose the worker that can have a model soonest and send it a direct order, on a list of
its own. The same order to load lies in the cold queue, an RQ queue that all workers read: if the
chosen worker does not take it, or dies, another one takes it after a head start. Either way an
order is an invitation (ref, token); the script `claim_load` decides which worker loads.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.backoff import wait_s
from shared.channel import Channel
from shared.connection import redis_errors
from shared.errors import ConfigError
from shared.keys import Keys
from shared.tasks import BackgroundTasks
from worker.loading import rq_worker

log = logging.getLogger(__name__)

BLOCK_S = 1
GATE_POLL_S = 0.02
CLAIM_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 20.0
FIRST_WAIT_S = 0.2
STEADY_S = 30.0  # an RQ worker that ran for this long starts again without a longer wait

Accept = Callable[[str, str], Coroutine[Any, Any, str]]


class Orders:
    """Reads `orders:<worker>` over a channel of its own. `may_load`: whether a load could start;
    `load(ref, token)` answers at once, `unload(ref)` returns when the model is freed."""

    def __init__(
        self, channel: Channel, keys: Keys, worker: str, may_load: Callable[[], bool],
        load: Accept, unload: Callable[[str], Coroutine[Any, Any, object]],
    ) -> None:  # fmt: skip
        self._channel = channel
        self._list = keys.orders(worker)
        self._may_load = may_load
        self._load = load
        self._unload = unload
        self._unloading = BackgroundTasks[object]()  # a copy may have to drain first

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
                self._unloading.start(self._unload(ref))
            case [""]:
                pass
            case _:
                log.error("an order of unknown form is ignored: %.100r", order)
        return order


class ColdQueue:
    """Runs RQ's worker in a thread, restarts it when its loop ends, stops it.

    The handler of a job runs `accept(ref, token)` on the event loop and returns within
    milliseconds, so RQ's timeouts, registries and retries have no effect. `gate()`: whether an
    order may be taken."""

    def __init__(
        self, redis_url: str, keys: Keys, worker: str, accept: Accept,
        gate: Callable[[], bool], loop: asyncio.AbstractEventLoop,
    ) -> None:  # fmt: skip
        if keys.rq_prefix != rq_worker.KEY_PREFIX:
            raise ConfigError(f"RQ_KEY_PREFIX: is {rq_worker.KEY_PREFIX}, want {keys.rq_prefix}")
        self._redis_url = redis_url
        self._worker = worker
        self._accept = accept
        self._gate = gate
        self._loop = loop
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._supervise, name="cold-queue", daemon=True)

    def start(self) -> None:
        """Begin to take orders."""
        self._thread.start()

    async def stop(self) -> None:
        """Take no more orders; returns when the thread has ended, after its read of a second."""
        self._stopping.set()
        await asyncio.to_thread(self._thread.join, STOP_TIMEOUT_S)

    def _open(self) -> bool:
        """Wait until an order may be taken; False when stopping."""
        while not self._stopping.is_set():
            if self._gate():
                return True
            time.sleep(GATE_POLL_S)
        return False

    def _supervise(self) -> None:
        """Run RQ's worker again and again: its loop ends on any Redis error but a lost
        connection."""
        failures = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            error: Exception | None = None
            try:
                self._work()
            except Exception as raised:
                error = raised
            steady = time.monotonic() - started > STEADY_S
            failures = 1 if steady else failures + 1
            if error is not None and failures & (failures - 1) == 0:  # 1, 2, 4, 8: once per outage
                foreseen = isinstance(error, redis.RedisError)
                log.warning("cold queue: %s", error, exc_info=None if foreseen else error)
            self._stopping.wait(wait_s(failures, FIRST_WAIT_S, rq_worker.LONGEST_WAIT_S))

    def _work(self) -> None:
        # RQ changes the socket timeout of the pool that it is given: it gets one of its own.
        client = redis.Redis.from_url(
            self._redis_url, protocol=2, socket_connect_timeout=3, retry=Retry(NoBackoff(), 0)
        )
        with client:
            rq_worker.build_worker(client, self._worker, self._claim, self._open).work(
                logging_level="WARNING"
            )

    def _claim(self, ref: str, token: str) -> str:
        """On RQ's thread: run `accept` on the event loop, where the load will run."""
        future = asyncio.run_coroutine_threadsafe(self._accept(ref, token), self._loop)
        return future.result(CLAIM_TIMEOUT_S)
