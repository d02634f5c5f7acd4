"""The cold queue's consumer: an RQ worker in a thread of its own, supervised.

A job is an invitation (ref, token), never the work: the handler asks `claim_load` on the event
loop and returns within milliseconds, so RQ's timeouts, registries and retries cannot hurt.
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

from shared.errors import ConfigError
from shared.keys import Keys
from worker.loading import rq_worker

log = logging.getLogger(__name__)

GATE_POLL_S = 0.02
CLAIM_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 20.0

Accept = Callable[[str, str], Coroutine[Any, Any, str]]


class ColdQueue:
    """Runs the RQ worker, restarts it when its loop ends, stops it. `alive` is for readiness."""

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

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def _open(self) -> bool:
        """Wait until an order may be taken; False when stopping."""
        while not self._stopping.is_set():
            if self._gate():
                return True
            time.sleep(GATE_POLL_S)
        return False

    def _supervise(self) -> None:
        """RQ's loop ends for good on any Redis error but a lost connection: begin it again."""
        wait = 0.2
        while not self._stopping.is_set():
            begun = time.monotonic()
            try:
                self._work()
            except redis.RedisError as error:
                log.warning("cold queue: %s", error)
            except Exception:
                log.exception("cold queue: RQ's worker raised")
            wait = 0.2 if time.monotonic() - begun > 30 else min(wait * 2, 5.0)
            self._stopping.wait(wait)

    def _work(self) -> None:
        # RQ changes the socket timeout of the pool it is given: it gets one of its own.
        client = redis.Redis.from_url(
            self._redis_url, protocol=2, socket_connect_timeout=3, retry=Retry(NoBackoff(), 0)
        )
        with client:
            rq_worker.build_worker(client, self._worker, self._claim, self._open).work(
                logging_level="WARNING"
            )

    def _claim(self, ref: str, token: str) -> str:
        """On RQ's thread: ask the event loop, where the load will run."""
        future = asyncio.run_coroutine_threadsafe(self._accept(ref, token), self._loop)
        return future.result(CLAIM_TIMEOUT_S)
