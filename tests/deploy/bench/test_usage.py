"""Processor time by process, and what Redis ran by script."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
import redis

from deploy.bench.usage import logged_calls, measured, thread_seconds
from deploy.local.redis_server import RedisServer
from tests.helpers.cell import open_cell
from tests.helpers.factories import REF, placing

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux_only
def test_a_process_is_charged_for_what_it_spends_in_the_block() -> None:
    """And for nothing that it spent before."""
    _burn(0.1)
    with measured({"me": os.getpid()}) as spent:
        begun = time.process_time()
        _burn(0.2)
        used = time.process_time() - begun
    assert spent["me"] == pytest.approx(used, abs=0.05)


@linux_only
def test_other_threads_are_charged_apart() -> None:
    """A process whose main thread only waits has all its time beside it."""
    burn = "import time\nends = time.thread_time() + 9\nwhile time.thread_time() < ends: pass"
    code = f"import threading\nthreading.Thread(target=lambda: exec({burn!r})).start()"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        try:
            while sum(thread_seconds(process.pid).values()) < 0.2:
                time.sleep(0.02)
            with measured({"it": process.pid}) as spent:
                time.sleep(0.3)
        finally:
            process.kill()
    assert spent["it"] < 0.05
    assert spent["it, other threads"] > 0


async def test_scripts_are_counted_by_name(own_redis: RedisServer) -> None:
    """Their time is Redis's own, and what was logged before the block is left out."""
    cell = open_cell(own_redis.url, "bench")
    try:
        await cell.worker(holds=[REF])
        with redis.Redis.from_url(own_redis.url) as client, logged_calls(client) as calls:
            await cell.place(placing())
            await cell.place(placing())
    finally:
        await cell.close()
    assert calls["place.lua"].calls >= 1
    assert calls["place.lua"].usec > 0
    assert "register.lua" not in calls


def test_the_slow_log_is_left_as_it_was(own_redis: RedisServer) -> None:
    """It belongs to whoever runs that Redis."""
    with redis.Redis.from_url(own_redis.url) as client:
        before = client.config_get("slowlog-*")
        with logged_calls(client):
            client.ping()
        assert client.config_get("slowlog-*") == before
        assert client.slowlog_len() == 0


def _burn(seconds: float) -> None:
    ends = time.process_time() + seconds
    while time.process_time() < ends:
        pass
