"""The GPUs that a worker may use: those of the machine, restricted by CUDA_VISIBLE_DEVICES and by
WARMROUTE_DEVICE. Nothing here makes a CUDA context, or needs torch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from shared.errors import ConfigError, Unavailable
from worker.device import nvml

NAME = re.compile(r"cpu|cuda(?::(\d{1,3}))?")
WANT = "want cpu, cuda or cuda:<number>"


@dataclass(frozen=True)
class Gpu:
    """A GPU, or an instance of one (MIG). `index`: its number in WARMROUTE_DEVICE."""

    index: int
    uuid: str
    name: str


def list_gpus(visible: str | None = None) -> list[Gpu]:
    """The GPUs of this machine that `visible`, the value of CUDA_VISIBLE_DEVICES, allows (None: it
    is not set). [] without a driver or a GPU; Unavailable if the driver is broken.

    In the place of a GPU that is divided (MIG) stand its instances: a process can use only those,
    and only one of them. CUDA numbers GPUs of different kinds by speed, unless CUDA_DEVICE_ORDER is
    PCI_BUS_ID; here they are always numbered by bus.
    """
    found: list[Gpu] = []
    with nvml.session():
        for uuid in visible_of(nvml.installed(), visible):
            parts = None if uuid.startswith("MIG-") else nvml.instances(uuid)
            for one in [uuid] if parts is None else parts:
                gpu = _look_up(len(found), one)
                if gpu is None:
                    return found
                found.append(gpu)
    return found


def visible_of(installed: Sequence[str], visible: str | None) -> list[str]:
    """The UUIDs that a value of CUDA_VISIBLE_DEVICES names, by CUDA's rules: numbers, UUIDs or
    unique beginnings of them, MIG instances by their UUID. A wrong item hides all that follow it,
    an item named twice hides everything.
    """
    if visible is None:
        return list(installed)
    chosen: list[str] = []
    for item in visible.split(","):
        uuid = _named(item.strip(), installed)
        if uuid is None:
            break
        if uuid in chosen:
            return []
        chosen.append(uuid)
    return chosen


def choose(inventory: Sequence[Gpu], requested: str) -> list[Gpu]:
    """The GPUs of which a worker may claim one, by WARMROUTE_DEVICE; [] for the CPU. ConfigError if
    there is no such GPU, or the value does not name a device."""
    match = NAME.fullmatch(requested) if requested else None
    if requested and match is None:
        raise ConfigError(f"WARMROUTE_DEVICE: {requested[:40]!r}, {WANT}")
    if requested == "cpu":
        return []
    if requested and not inventory:
        raise ConfigError(f"WARMROUTE_DEVICE: {requested}, but there is no usable GPU here")
    if match is None or match[1] is None:
        return list(inventory)
    number = int(match[1])
    if number >= len(inventory):
        raise ConfigError(
            f"WARMROUTE_DEVICE: {requested}, but GPUs are numbered 0 to {len(inventory) - 1} here"
        )
    return [inventory[number]]


def _named(item: str, installed: Sequence[str]) -> str | None:
    if item.isdecimal():
        return installed[int(item)] if int(item) < len(installed) else None
    if item.startswith("MIG-"):
        return item
    matching = [uuid for uuid in installed if item.startswith("GPU-") and uuid.startswith(item)]
    return matching[0] if len(matching) == 1 else None


def _look_up(index: int, uuid: str) -> Gpu | None:
    """None for a MIG instance that is not there (any more)."""
    try:
        gpu = nvml.Nvml(uuid)
        try:
            return Gpu(index, uuid, gpu.name)
        finally:
            gpu.close()
    except Unavailable:
        if uuid.startswith("MIG-"):
            return None
        raise
