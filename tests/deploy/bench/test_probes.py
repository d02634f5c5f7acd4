"""Processor time by process, what Redis ran by script, and the memory of a process."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import time

import pytest
import redis

from deploy.bench.measure import BenchError
from deploy.bench.probes import logged_calls, measured, memory_of, slope, thread_seconds
from deploy.local.redis_server import RedisServer
from tests.helpers.cell import open_cell
from tests.helpers.factories import REF, placing
from tests.helpers.wait import block_until

MANY = 32 << 20

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
    """All time of a process counts there if its main thread only waits."""
    burn = "import time\nends = time.thread_time() + 60\nwhile time.thread_time() < ends: pass"
    code = f"import threading\nthreading.Thread(target=lambda: exec({burn!r})).start()"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        try:
            block_until(lambda: of_others(process.pid) > 0.2, 60)  # so its start is behind it
            with measured({"it": process.pid}) as spent:
                before = of_others(process.pid)
                block_until(lambda: of_others(process.pid) > before + 0.2, 60)
        finally:
            process.kill()
    assert spent["it"] < 0.05
    assert spent["it, other threads"] >= 0.2


def of_others(pid: int) -> float:
    """Seconds of the threads that are not the main one."""
    return sum(seconds for thread, seconds in thread_seconds(pid).items() if thread != pid)


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
    """It belongs to the operator of that Redis."""
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


def test_memory_that_is_touched_counts() -> None:
    """As resident and as backed by no file."""
    before = memory_of(os.getpid())
    with mmap.mmap(-1, MANY, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as kept:
        kept.write(b"x" * MANY)
        after = memory_of(os.getpid())
    assert after.resident - before.resident > MANY / 2
    assert after.anonymous - before.anonymous > MANY / 2
    assert 0 < after.proportional <= after.resident


def test_a_process_that_is_gone_has_no_memory() -> None:
    """That is an error, and no figure is made up."""
    with pytest.raises(BenchError, match="does not run any more"):
        memory_of(2**22 + 1)


def test_the_slope_is_the_growth_from_one_value_to_the_next() -> None:
    """Noise around a line hardly bends it; one value has none."""
    assert slope([5.0, 5.0, 5.0]) == pytest.approx(0)
    assert slope([10 + 2 * at + (-1) ** at for at in range(100)]) == pytest.approx(2, abs=0.01)
    with pytest.raises(BenchError, match="two values"):
        slope([1.0])
