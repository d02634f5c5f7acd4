"""What was freed goes back to the system when nobody computes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from tests.helpers.evicting import hold
from tests.helpers.factories import REF
from worker.device.cpu import CpuDevice
from worker.residency.context import WorkerContext
from worker.residency.gauge import Gauge, Span
from worker.residency.memory_monitor import TRIM_BYTES, TRIM_IDLE_S, IdleTrimmer


class Heap(CpuDevice):
    """A device whose heap keeps what a test says."""

    kept, trims = 10 * TRIM_BYTES, 0

    def slack(self) -> int:
        return self.kept

    def trim(self) -> None:
        self.trims += 1
        self.kept = 0


@pytest.fixture
async def idle(parts: WorkerContext) -> AsyncIterator[WorkerContext]:
    """A worker whose only copy was used a while ago."""
    made = replace(parts, device=Heap(), gauge=Gauge(lambda: 0))
    await hold(made, REF, 60)
    copy = made.copies.get(REF)
    assert copy is not None
    copy.last_used -= 2 * TRIM_IDLE_S
    yield made


async def test_an_idle_worker_gives_back_what_it_keeps(idle: WorkerContext) -> None:
    """Once: then nothing is left."""
    slack = IdleTrimmer(idle)
    assert await slack.run_once() == 10 * TRIM_BYTES
    assert await slack.run_once() == 0
    assert idle.device.trims == 1


async def test_little_is_not_worth_a_walk_over_the_heap(idle: WorkerContext) -> None:
    """It stays for the next call."""
    idle.device.kept = TRIM_BYTES - 1
    assert await IdleTrimmer(idle).run_once() == 0 == idle.device.trims


@pytest.fixture(params=["runs", "was used just now", "loads"])
def busy(request: pytest.FixtureRequest, idle: WorkerContext) -> Iterator[WorkerContext]:
    """The same worker at work."""
    copy, span = idle.copies.get(REF), Span()
    assert copy is not None
    if request.param == "runs":
        copy.running = 1
    elif request.param == "loads":
        idle.gauge.begin(span)
    else:
        copy.last_used += 2 * TRIM_IDLE_S
    yield idle


async def test_a_busy_worker_keeps_it_for_the_next_call(busy: WorkerContext) -> None:
    """Taking its pages anew would cost more than the call."""
    assert await IdleTrimmer(busy).run_once() == 0 == busy.device.trims
