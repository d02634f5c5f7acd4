"""RQ's worker, made safe inside a long-lived process that owns a device. The only module with RQ.

By default RQ runs any importable name, callbacks and webhooks found in a job, unpickles, takes over
signals, raises alarms, listens for shutdown commands and dequeues whether or not there is room.
Each override here says what it prevents.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar

import redis
from rq import SimpleWorker, defaults
from rq.job import Job
from rq.queue import Queue
from rq.timeouts import BaseDeathPenalty

from shared import failpoints
from shared.constants import COLD_QUEUE

KEY_PREFIX = defaults.RQ_KEY_PREFIX  # read from the environment when RQ is imported
FUNCTION = "warmroute.load"
MAX_JOB_BYTES = 4096
WORKER_TTL_S = 20
READ_S = 1  # one blocking read: a stop, a closed gate or a dead peer is noticed as soon
MAINTENANCE_S = 30
ORDER_LIFE_S = 600
# What place.lua writes and RQ adds. Any other field could make RQ call, post, retry or unpack.
FIELDS = frozenset({
    b"data", b"created_at", b"enqueued_at", b"started_at", b"ended_at", b"last_heartbeat",
    b"origin", b"status", b"timeout", b"result_ttl", b"failure_ttl", b"description", b"worker_name",
})  # fmt: skip

Claim = Callable[[str, str], str]
Gate = Callable[[], bool]


class StrictJSON:
    """RQ's serializer, by default pickle: JSON and nothing else, small and finite."""

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


class NoDeathPenalty(BaseDeathPenalty):
    """RQ's own use SIGALRM, or inject exceptions into threads; the handler needs neither."""

    def setup_death_penalty(self) -> None:
        """Nothing to set up."""

    def cancel_death_penalty(self) -> None:
        """Nothing to cancel."""


class LoadOrder(Job):
    """A job that can be nothing but an invitation to load."""

    claim: ClassVar[Claim]

    def restore(self, raw_data: Any) -> None:
        """Read a job without what could act by itself, and without unpacking a bomb."""
        fields = {name: value for name, value in dict(raw_data).items() if name in FIELDS}
        if len(_bounded(fields.get(b"data", b""))) > MAX_JOB_BYTES:
            raise ValueError(f"an order has at most {MAX_JOB_BYTES} bytes")
        super().restore(fields)

    @property
    def func(self) -> None:
        """RQ would import whatever name the job gives."""
        raise ValueError("orders import nothing")

    def prepare_for_execution(self, worker_name: str, pipeline: Any) -> None:
        """RQ takes the job's lifetime away until it ends, in this transaction. Killed or cut off
        meanwhile, the job would stay for ever: so persist gives it a lifetime instead."""
        super().prepare_for_execution(worker_name, pipeline)
        pipeline.persist = lambda key: pipeline.expire(key, ORDER_LIFE_S)

    def heartbeat(
        self, timestamp: datetime, ttl: int, pipeline: Any = None, xx: bool = False
    ) -> None:
        """RQ's sets a field, which makes a job without a lifetime of one that was taken back."""
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
    gate: Gate

    def _install_signal_handlers(self) -> None:
        """Signals belong to the main thread."""

    def register_birth(self) -> None:
        """The name is this worker's alone. If a full Redis refused its last goodbye, RQ would take
        the old entry for another worker's and refuse to start until it expires."""
        self.connection.delete(self.key)
        super().register_birth()  # type: ignore[no-untyped-call]

    def subscribe(self) -> None:
        """Who can publish to RQ's channel could stop this process."""

    def unsubscribe(self) -> None:
        """Nothing was subscribed."""

    @property
    def dequeue_timeout(self) -> int:
        """Seconds of one blocking read."""
        return READ_S

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:
        """An order takes milliseconds; by default RQ would believe in it for minutes."""
        return WORKER_TTL_S

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> Any:
        """A worker that cannot load now must not take the order from one that can."""
        while self.gate():
            found = super().dequeue_job_and_maintain_ttl(timeout, READ_S)
            if found is not None:
                return found
        return None


def build_worker(client: redis.Redis, name: str, claim: Claim, gate: Gate) -> ColdWorker:
    """The worker of one process. `claim` answers an order, `gate` waits until one may be taken
    (False: stop)."""

    class Order(LoadOrder):
        """Bound to this process's claim."""

    Order.claim = staticmethod(claim)
    queue = Queue(COLD_QUEUE, connection=client, job_class=Order, serializer=StrictJSON)
    worker = ColdWorker(
        [queue], name=name, connection=client, job_class=Order, serializer=StrictJSON,
        worker_ttl=WORKER_TTL_S, maintenance_interval=MAINTENANCE_S, log_job_description=False,
        default_result_ttl=120,
    )  # fmt: skip
    worker.gate = gate
    return worker


def _bounded(data: bytes) -> bytes:
    """The job's data unpacked, but no further than the limit: it may be a bomb."""
    try:
        return zlib.decompressobj().decompress(data, MAX_JOB_BYTES + 1)
    except zlib.error:
        return data
