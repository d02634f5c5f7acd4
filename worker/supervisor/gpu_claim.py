"""The GPU of a worker, claimed by the parent for all device processes that follow each other.

A device process inherits the claim, so a GPU is free again when both processes have ended: at once
after a clean end or a kill, and not before a device process that drains alone. What torch reads
when it starts is in the environment of the device process.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from shared import clock
from shared.errors import ConfigError
from worker.device import torch_build
from worker.device.claims import FOLDER, Claim, claim_one
from worker.device.inventory import Gpu, choose, list_gpus

log = logging.getLogger(__name__)

POLL_S = 0.25
VISIBLE = "CUDA_VISIBLE_DEVICES"
_ALLOCATOR = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
# Blocks of any size grow out of one another, so loads and evictions of many sizes leave no gaps.
EXPANDABLE = "expandable_segments:True"


class GpuClaim:
    """The claim of one worker: `take` once, then `lost` now and then."""

    def __init__(self) -> None:
        self._claim: Claim | None = None

    async def take(
        self, requested: str, env: Mapping[str, str], wait_s: float, stopping: asyncio.Event
    ) -> dict[str, str]:
        """Claim a GPU if this worker is to have one; what the device process gets beside `env`.
        ConfigError or Unavailable, see `candidates` and `claim`."""
        if gpus := await candidates(requested, env):
            self._claim = await claim(gpus, requested, wait_s, stopping)
        return environment(self._claim.gpu if self._claim else None, requested, env)

    @property
    def files(self) -> list[int]:
        """What a device process has to inherit."""
        return [self._claim.file] if self._claim else []

    def lost(self) -> str:
        """The UUID of the GPU if another process has it now, else ''."""
        return self._claim.gpu.uuid if self._claim and not self._claim.keep() else ""


async def candidates(requested: str, env: Mapping[str, str]) -> list[Gpu]:
    """The GPUs of which a worker may claim one; [] for the CPU. `requested` is WARMROUTE_DEVICE.
    ConfigError if there is no such GPU, Unavailable if the driver is broken."""
    inventory: list[Gpu] = []
    if requested != "cpu" and torch_build.has_cuda():
        # On a thread: a driver that hangs must not keep a signal from this process.
        inventory = await asyncio.to_thread(list_gpus, env.get(VISIBLE))
    return choose(inventory, requested)


async def claim(
    gpus: Sequence[Gpu], requested: str, wait_s: float, stopping: asyncio.Event,
    folder: Path = FOLDER,
) -> Claim | None:  # fmt: skip
    """Claim one of `gpus`; None if this worker is stopped before one is free. ConfigError if none
    becomes free within `wait_s`, in which a worker that was stopped has ended."""
    until, waits = clock.monotonic() + wait_s, False
    while not stopping.is_set():
        if (found := claim_one(gpus, folder)) is not None:
            return found
        if clock.monotonic() >= until:
            raise ConfigError(none_free(gpus, requested))
        if not waits:
            log.warning("%s: it waits up to %.0f s", none_free(gpus, requested), wait_s)
        waits = True
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):
                await stopping.wait()
    return None


def none_free(gpus: Sequence[Gpu], requested: str) -> str:
    """The error of a worker for which no GPU is left, and what to do."""
    if ":" in requested:
        return f"WARMROUTE_DEVICE: {requested}, but that GPU is held by another worker"
    count = len(gpus)
    held = (
        "the only one is held by another worker"
        if count == 1
        else f"all {count} are held by other workers"
    )
    return (
        f"no GPU is free: {held}; start at most {count} here, or set WARMROUTE_DEVICE=cpu for one "
        "more without a GPU"
    )


def environment(claimed: Gpu | None, requested: str, env: Mapping[str, str]) -> dict[str, str]:
    """What the device process gets beside `env`: only the claimed GPU is visible to it, so it is
    number 0, and no context is made on another worker's GPU."""
    if claimed is None:
        return {VISIBLE: ""} if requested == "cpu" else {}
    given = {VISIBLE: claimed.uuid, "WARMROUTE_DEVICE": "cuda:0"}
    if not any(env.get(name) for name in _ALLOCATOR):
        given[_ALLOCATOR[0]] = EXPANDABLE
    return given
