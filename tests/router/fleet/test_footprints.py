"""The footprint that a gateway expects: the sum of a worker, from what it knows."""

from __future__ import annotations

import pytest

from router.fleet import footprints
from router.fleet.footprints import Footprints, size
from shared.footprint import predict
from shared.manifest import Manifest
from shared.platforms import PLATFORMS
from tests.helpers.cell import LEASE_MS, Cell
from tests.helpers.factories import file_entry, manifest


def of(platform: str) -> Manifest:
    """A version with equal weights twice, and 30 bytes beside them."""
    files = [
        file_entry("weights/0.safetensors", "a", 100),
        file_entry("weights/1.safetensors", "a", 100),
        file_entry("program.json", "b", 30),
    ]
    return manifest(platform=platform, files=files)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_gateway_expects_what_a_worker_reserves(platform: str) -> None:
    """Before the first load, and with what loads have recorded; each content counts once."""
    assert size(of(platform), {}) == predict(of(platform)).total <= 130
    known = {b"own:cpu": b"7", b"host": b"5000"}
    assert size(of(platform), known) == predict(of(platform), 7).total


def test_the_device_class_that_takes_most_counts() -> None:
    """It is not known yet which one will load the model; what is not a number is ignored."""
    known = {b"own:cpu": b"7", b"own:NVIDIA_H100": b"9", b"own:odd": b"many"}
    assert size(of("onnxruntime_onnx"), known) == 9


def test_a_fraction_of_the_budget_is_the_least() -> None:
    """A model that was promised a share of the device counts as that share."""
    assert size(of("onnxruntime_onnx"), {b"own:cpu": b"7"}, fraction=0.5, budget=80) == 40
    assert size(of("onnxruntime_onnx"), {b"own:cpu": b"70"}, fraction=0.5, budget=80) == 70


async def ready_worker(cell: Cell, name: str, budget: int, device_class: str = "cpu") -> None:
    epoch = await cell.worker(name)
    report = {"state": "ready", "budget_bytes": budget, "device_class": device_class}
    await cell.scripts.heartbeat(name, epoch, "one", LEASE_MS, 0, report)


async def test_the_budgets_of_ready_workers_are_read(cell: Cell) -> None:
    """Of a small cell all: not that of one which drains, whose lease has ended, or whose record is
    of another type."""
    await ready_worker(cell, "w1", 100)
    await ready_worker(cell, "w2", 300)
    for name in ("drains", "gone", "odd"):
        await ready_worker(cell, name, 500)
    await cell.client.hset(cell.keys.worker("drains"), "state", "draining")
    await cell.client.zadd(cell.keys.workers, {"gone": 1})
    await cell.client.delete(cell.keys.worker("odd"))
    await cell.client.set(cell.keys.worker("odd"), "x", ex=60)
    assert sorted(await Footprints(cell.channel, cell.keys).budgets()) == [100, 300]
    await cell.client.delete(cell.keys.worker("odd"))


async def test_a_large_cell_is_sampled_and_no_device_class_is_missed(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one large device among many small ones says what the largest budget is; as many commands
    whatever the cell has."""
    monkeypatch.setattr(footprints, "MOST_SAMPLED", 5)
    await ready_worker(cell, "large", 9000, "gpu")
    counts = []
    for number in (8, 30):
        for at in range(number):
            await ready_worker(cell, f"w{at}", 100)
        before = await commands(cell)
        found = await Footprints(cell.channel, cell.keys).budgets()
        counts.append(await commands(cell) - before)
        assert (max(found), min(found)) == (9000, 100)
        assert len(found) <= 5 + 2 * footprints.OF_EACH_CLASS
    assert counts[1] <= counts[0] + 4  # (those drawn twice are read once)


async def commands(cell: Cell) -> int:
    return int((await cell.client.info("stats"))["total_commands_processed"])
