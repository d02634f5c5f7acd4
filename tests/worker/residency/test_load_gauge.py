"""A load is measured by what it adds, except what a format's first run sets up for all loads."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from tests.helpers.factories import file_entry, manifest
from worker.device.thread import DeviceThread
from worker.residency.gauge import Gauge, LoadGauge
from worker.runtimes.base import LoadedModel

WEIGHTS, SET_UP = 6_000_000, 6_700_000
SCRIPT = manifest(platform="pytorch_torchscript", files=[file_entry("model.pt", "m")])


class Process:
    """What is live in it."""

    def __init__(self) -> None:
        self.live = 0
        self.gauge = Gauge(lambda: self.live)

    async def run(self, call: Callable[[], Any]) -> Any:
        return call()


async def measured(process: Process, gauge: LoadGauge, adds: int) -> int:
    model = SimpleNamespace(bytes_resident=WEIGHTS, shared={})
    async with gauge.load(SCRIPT) as span:
        process.live += adds
        await gauge.correct(SCRIPT, cast(LoadedModel, model), span, None)
    return model.bytes_resident


async def test_what_the_first_run_of_a_format_sets_up_is_not_a_models() -> None:
    """A model of 6 MB was refused for 13 MB in an empty worker of 10."""
    process = Process()
    gauge = LoadGauge(cast(DeviceThread, process), process.gauge)
    assert await measured(process, gauge, WEIGHTS + SET_UP) == WEIGHTS
    assert await measured(process, gauge, WEIGHTS + SET_UP) == WEIGHTS + SET_UP
