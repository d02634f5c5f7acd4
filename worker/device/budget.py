"""Shares of a device's memory: for models, for other processes, for the process itself. Bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from shared.errors import Unavailable
from worker.device.base import Device

if TYPE_CHECKING:  # its figures alone are needed where no cell is
    from shared.config import WorkerConfig

GPU_SHARE, HOST_SHARE, DEMOTED_SHARE = 0.8, 0.5, 0.125

HostPart = Callable[[], int]  # this worker's part of the host's memory, as it is now


def budget_of(config: WorkerConfig, device: Device, host_part: HostPart) -> int:
    """Bytes for models: the setting, or a share of what the device has left."""
    if config.memory_bytes or device.kind != "cuda":
        return config.memory_bytes or host_part()
    return left_for_models(device.memory_total(), GPU_SHARE, device.others(), device.overhead())


def allowed_budget(config: WorkerConfig, device: Device, current: int, host_part: HostPart) -> int:
    """The budget that the device allows now: less than the setting if other processes took memory.
    `current`, the budget in force, if the device cannot be measured. Blocks."""
    try:
        if not config.memory_bytes:
            return budget_of(config, device, host_part)
        left = left_for_models(device.memory_total(), 1.0, device.others(), device.overhead())
        return min(config.memory_bytes, left)
    except Unavailable:
        return current


def host_budget_of(config: WorkerConfig, device: Device, host_part: HostPart) -> int:
    """Bytes for models that were evicted from the device but stay in host memory."""
    return config.host_memory_bytes or (host_part() if device.kind == "cuda" else 0)


def left_for_models(total: int, share: float, others: int, overhead: int) -> int:
    """The budget for models: `share` of what other processes and this one's overhead leave, at
    least 0. The rest is for what models need while they run."""
    return int(max(0, total - others - overhead) * share)


def overhead_of(mine: int | None, before: int, after: int, reserved: int) -> int:
    """What a process takes before its first model. `mine`: bytes of this process by the driver; if
    the driver does not know them (None), the growth of all used memory while the device was opened
    is taken."""
    return max(0, (after - before if mine is None else mine) - reserved)


def others_of(used: int, mine: int | None, reserved: int, overhead: int) -> int:
    """What other processes use of a device on which `used` bytes are used. `mine`: bytes of this
    process by the driver; None if it does not know them: then what this process holds outside of
    its allocator counts as used by others."""
    return max(0, used - (reserved + overhead if mine is None else mine))
