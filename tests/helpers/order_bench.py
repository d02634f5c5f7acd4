"""RQ's own queue in a test cell, and the worker that takes what is in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import redis

from shared.keys import Keys
from tests.conftest import RQ_CELL
from worker.loading.rq_worker import build_worker

KEYS = Keys(RQ_CELL)
FIELDS = {
    "origin": "cold", "status": "queued", "created_at": "2026-01-01T00:00:00.000000Z",
    "enqueued_at": "2026-01-01T00:00:00.000000Z", "timeout": 60, "result_ttl": 120,
    "failure_ttl": 600, "description": "load",
}  # fmt: skip
GOOD: list[Any] = ["warmroute.load", None, ["mnist:1:0123456789ab", "token"], {}]
ROUNDS = 20


class OrderBench:
    """RQ's queue, and a worker that takes what is in it."""

    def __init__(self, url: str, folder: Path) -> None:
        self.client = redis.Redis.from_url(url, protocol=2)
        self.touched = folder / "touched"
        self.claims: list[tuple[str, str]] = []
        self._count = 0

    def push(self, data: Any, /, **fields: Any) -> str:
        """A job with this data (a call, or raw bytes); its id."""
        self._count += 1
        job = f"job-{self._count}"
        raw = data if isinstance(data, bytes) else json.dumps(data).encode()
        row: dict[Any, Any] = {**FIELDS, **fields} | ({"data": raw} if raw else {})
        self.client.hset(KEYS.rq_job(job), mapping=row)
        self.client.rpush(KEYS.rq_queue(), job)
        return job

    def work(self) -> None:
        """Take jobs until none is left. RQ's loop ends with some of them, and is begun again."""
        self._rounds = 0
        while self.waiting():
            build_worker(self.client, f"w{self._count}", self._claim, self.waiting).work()
        assert self._rounds <= ROUNDS, "a job came back again and again"

    def waiting(self) -> bool:
        """The gate: open while there are jobs, but not for ever."""
        self._rounds += 1
        return self._rounds <= ROUNDS and self.client.llen(KEYS.rq_queue()) > 0

    def _claim(self, ref: str, token: str) -> str:
        self.claims.append((ref, token))
        return "claimed"

    def clear(self) -> None:
        """Leave nothing behind."""
        for key in self.client.scan_iter(KEYS.prefix + ":*", count=1000):
            self.client.delete(key)
        self.client.close()
