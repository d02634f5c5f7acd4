"""One GPU per worker: each claims a free one by its UUID, under a lease in Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from shared.errors import ConfigError
from shared.retry import until_answered
from worker.device.inventory import Gpu, choose

CLAIM_MS = 30_000


class Claims(Protocol):
    """The script that claims (`shared/scripts.py`)."""

    async def claim_device(self, worker: str, ttl_ms: int, uuids: Sequence[str]) -> int:
        """Index of the first of `uuids` that is free, or this worker's already; -1 for none."""


async def claim(
    scripts: Claims, worker: str, wanted: str, inventory: Sequence[Gpu], ttl_ms: int = CLAIM_MS
) -> Gpu | None:
    """The GPU that this worker has from now on, for as long as the claim is renewed; None for the
    CPU. `wanted` is WARMROUTE_DEVICE. ConfigError if there is none, or none is free.
    """
    candidates = choose(inventory, wanted)
    if not candidates:
        return None
    uuids = [gpu.uuid for gpu in candidates]
    index = await until_answered(lambda: scripts.claim_device(worker, ttl_ms, uuids))
    if index < 0:
        raise ConfigError(none_free(candidates, wanted))
    return candidates[index]


def none_free(candidates: Sequence[Gpu], wanted: str) -> str:
    """What a worker says that comes too late, and what would be right."""
    count = len(candidates)
    if ":" in wanted:
        return f"WARMROUTE_DEVICE: {wanted}, but that GPU is held by another worker"
    held = (
        "the only one is held by another worker"
        if count == 1
        else (f"all {count} are held by other workers")
    )
    return (
        f"no GPU is free: {held}; start at most {count} here, or set WARMROUTE_DEVICE=cpu for one "
        "more without a GPU"
    )
