"""The host tier under random use: never over its budget, and the books match what is in memory."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from shared.manifest import Manifest
from tests.helpers.factories import file_entry, manifest
from worker.device.cpu import CpuDevice
from worker.residency.host_tier import HostTier

SIZES = {letter: 64 + 16 * n for n, letter in enumerate("0123456789abcdef")}
BUDGET, STEPS = 600, 400


class Checked(HostTier):
    """A host tier whose books are compared with what is in memory."""

    def check(self) -> None:
        assert self.used <= self.budget
        booked = {blob for footprint in self._booked.values() for blob in footprint.blobs}
        assert self.used == sum(size for _, size in booked)
        assert self._device.hosted.bytes <= self.used

    def check_at_rest(self) -> None:
        self.check()
        assert self._kept == self._booked and not self._leaving and not self._in_use
        assert self._device.hosted.bytes == self.used


def model(dice: random.Random) -> Manifest:
    """A base of one blob that many share, and some of its own."""
    letters = {dice.choice("01"), *dice.sample(sorted(SIZES), dice.randint(1, 4))}
    weights = [file_entry(f"weights/{c}", c, SIZES[c]) for c in sorted(letters)]
    return manifest(files=[file_entry("program.json", "f", 7), *weights])


@pytest.mark.parametrize("seed", range(5))
async def test_the_books_are_right_at_every_step(seed: int, tmp_path: Path):
    """Keeping, promoting and dropping at once, with files that are missing now and then."""
    dice, device = random.Random(seed), CpuDevice()
    tier = Checked(BUDGET, device)
    files = {f"weights/{c}": tmp_path / c for c in SIZES}
    for name, path in files.items():
        path.write_bytes(bytes(SIZES[name[-1]]))
    models = {f"m{n}": model(dice) for n in range(12)}
    kept = 0

    async def promote(one: Manifest) -> None:
        with tier.promoting(one) as missing:
            there = {e.sha256 for e in one.files} - {e.sha256 for e in missing}
            for _ in range(dice.randint(0, 6)):
                await asyncio.sleep(0)
                assert all(sha256 in device.hosted for sha256 in there), "it went while in use"

    async def act() -> None:
        nonlocal kept
        ref, one = dice.choice(list(models.items()))
        what = dice.random()
        if what < 0.6:
            given = files if dice.random() < 0.9 else {}
            kept += await tier.keep(ref, one, given)
        elif what < 0.8:
            await promote(one)
        else:
            tier.drop(ref)

    for _ in range(STEPS):
        tasks = [asyncio.create_task(act()) for _ in range(dice.randint(1, 4))]
        while pending := [task for task in tasks if not task.done()]:
            tier.check()
            await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.result()
    await tier.close()
    tier.check_at_rest()
    assert kept > STEPS / 4, "hardly anything was kept"
