"""RQ's worker, made safe inside a long-lived process that owns a device. The only module with RQ.

By default RQ runs any importable name, callbacks and webhooks found in a job, unpickles, takes over
signals, raises alarms, listens for shutdown commands and dequeues even when no load could start.
Each override here says what it prevents.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Callable
from datetime import datetime
from math import ceil
from typing import Any, ClassVar

import redis
from rq import SimpleWorker, defaults
from rq.job import Job
from rq.queue import Queue
from rq.timeouts import BaseDeathPenalty

from shared import failpoints
from shared.connection import COMMAND_TIMEOUT_S
from shared.constants import COLD_QUEUE

KEY_PREFIX = defaults.RQ_KEY_PREFIX  # read from the environment when RQ is imported
FUNCTION = "warmroute.load"
MAX_JOB_BYTES = 4096
WORKER_TTL_S = 20
READ_S = 1  # one blocking read: a stop, a closed gate or a dead peer is noticed as soon
MAINTENANCE_S = 30
ORDER_LIFE_S = 600
LONGEST_WAIT_S = 1.0  # between two tries to reach Redis
# The fields that the scripts write and RQ adds. Any other could make RQ call, post, retry or
# unpack.
FIELDS = frozenset({
    b"data", b"created_at", b"enqueued_at", b"started_at", b"ended_at", b"last_heartbeat",
    b"origin", b"status", b"timeout", b"result_ttl", b"failure_ttl", b"description", b"worker_name",
})  # fmt: skip

Claim = Callable[[str, str], str]
Gate = Callable[[], bool]


class OncePerOutage(logging.Filter):
    """Passes RQ's line about a lost connection once per outage, not once per try."""

    def __init__(self) -> None:
        super().__init__()
        self._last = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be logged."""
        if "could not connect to Redis" not in str(record.msg):
            return True
        last, self._last = self._last, record.created
        return record.created - last > READ_S + COMMAND_TIMEOUT_S + LONGEST_WAIT_S


class StrictJSON:
    """Serializer for RQ, whose default is pickle: JSON only, of limited size, with finite
    numbers."""

    @staticmethod
    def dumps(value: Any) -> bytes:
        """The JSON of a result."""
        return json.dumps(value, allow_nan=False).encode()

    @staticmethod
    def loads(raw: bytes) -> Any:
        """The call that a job describes."""
        if len(raw) > MAX_JOB_BYTES:
            raise ValueError(f"an order has at most {MAX_JOB_BYTES} bytes")
        return json.loads(raw)


_ONCE = OncePerOutage()  # a filter is added to a logger once, however often it is given


class NoDeathPenalty(BaseDeathPenalty):
    """No timeouts: those of RQ use SIGALRM, or inject exceptions into threads."""

    def setup_death_penalty(self) -> None:
        """Nothing to set up."""

    def cancel_death_penalty(self) -> None:
        """Nothing to cancel."""


class LoadOrder(Job):
    """A job that can only be an invitation to load."""

    claim: ClassVar[Claim]

    def restore(self, raw_data: Any) -> None:
        """Read a job without fields that make RQ act, and without decompressing more than the
        limit."""
        fields = {name: value for name, value in dict(raw_data).items() if name in FIELDS}
        if len(_bounded(fields.get(b"data", b""))) > MAX_JOB_BYTES:
            raise ValueError(f"an order has at most {MAX_JOB_BYTES} bytes")
        super().restore(fields)

    @property
    def func(self) -> None:
        """RQ would import whatever name the job gives."""
        raise ValueError("an order may not import a function")

    def prepare_for_execution(self, worker_name: str, pipeline: Any) -> None:
        """Keep a lifetime on the job: RQ removes it until the job ends, in this transaction, and if
        the worker is killed meanwhile the job would stay for ever."""
        super().prepare_for_execution(worker_name, pipeline)
        pipeline.persist = lambda key: pipeline.expire(key, ORDER_LIFE_S)

    def heartbeat(
        self, timestamp: datetime, ttl: int, pipeline: Any = None, xx: bool = False
    ) -> None:
        """Keep a lifetime on the job: RQ sets a field, which would create a cancelled job anew,
        without a lifetime."""
        with self.connection.pipeline() as own:
            taken = own if pipeline is None else pipeline
            super().heartbeat(timestamp, ttl, taken, xx)
            taken.expire(self.key, ORDER_LIFE_S)
            own.execute()

    def _execute(self) -> str:
        if self.func_name != FUNCTION:
            raise ValueError(f"only {FUNCTION} may run")
        ref, token, *_ = self.args  # a newer release may add some
        failpoints.reach_now("rq.taken")
        return type(self).claim(str(ref), str(token))


class ColdWorker(SimpleWorker):
    """Takes orders one by one, while the gate is open."""

    death_penalty_class = NoDeathPenalty
    # While Redis is away RQ waits twice as long after each try, up to a minute: cold models then
    # stood still for that long after it was back. Its first wait is a second.
    max_connection_wait_time = LONGEST_WAIT_S
    gate: Gate

    def _install_signal_handlers(self) -> None:
        """Signals belong to the main thread."""

    def register_birth(self) -> None:
        """Register under this worker's name, which no other worker has. If a full Redis refused its
        last deregistration, RQ would take the old entry for another worker's and refuse to start
        until it expires."""
        self.connection.delete(self.key)
        super().register_birth()  # type: ignore[no-untyped-call]

    def subscribe(self) -> None:
        """Subscribe to nothing: a client that publishes to RQ's channel could stop this process."""

    def unsubscribe(self) -> None:
        """Nothing was subscribed."""

    @property
    def dequeue_timeout(self) -> int:
        """Seconds of one blocking read."""
        return READ_S

    @property
    def connection_timeout(self) -> int:
        """Seconds without an answer after which a connection is dead; RQ allows ten more than one
        blocking read takes."""
        return READ_S + ceil(COMMAND_TIMEOUT_S)

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:
        """Seconds after which a running order counts as lost: it takes milliseconds, RQ allows
        minutes."""
        return WORKER_TTL_S

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> Any:
        """Take an order only if a load can start, and leave it to the other workers otherwise."""
        while self.gate():
            found = super().dequeue_job_and_maintain_ttl(timeout, READ_S)
            if found is not None:
                return found
        return None


def build_worker(client: redis.Redis, name: str, claim: Claim, gate: Gate) -> ColdWorker:
    """The RQ worker of one process. `claim(ref, token)` answers an order; `gate()` waits until one
    may be taken (False: stop)."""

    class Order(LoadOrder):
        """A LoadOrder with this process's claim."""

    Order.claim = staticmethod(claim)
    queue = Queue(COLD_QUEUE, connection=client, job_class=Order, serializer=StrictJSON)
    worker = ColdWorker(
        [queue], name=name, connection=client, job_class=Order, serializer=StrictJSON,
        worker_ttl=WORKER_TTL_S, maintenance_interval=MAINTENANCE_S, log_job_description=False,
        default_result_ttl=120,
    )  # fmt: skip
    worker.gate = gate
    worker.log.addFilter(_ONCE)
    return worker


def _bounded(data: bytes) -> bytes:
    """The job's data decompressed, but no further than the limit: it may be a bomb."""
    try:
        return zlib.decompressobj().decompress(data, MAX_JOB_BYTES + 1)
    except zlib.error:
        return data
