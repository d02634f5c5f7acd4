"""The GPUs that a worker may use: those of the machine, restricted by CUDA_VISIBLE_DEVICES and by
WARMROUTE_DEVICE. Nothing here makes a CUDA context, or needs torch.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass

from shared.errors import ConfigError, Unavailable
from worker.device import nvml

log = logging.getLogger(__name__)

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
    is not set). [] without a driver or a GPU; Unavailable if the driver is broken. A GPU that is
    broken is left out, unless all are: the others of its host can be used.

    In the place of a GPU that is divided (MIG) stand its instances: a process can use only those,
    and only one of them. CUDA numbers GPUs of different kinds by speed, unless CUDA_DEVICE_ORDER is
    PCI_BUS_ID; here they are always numbered by bus.
    """
    found, broken = list[Gpu](), ""
    with nvml.session():
        for uuid in visible_of(nvml.installed(), visible):
            try:
                gpus = _usable(uuid, len(found))
            except Unavailable as error:
                broken = f"{uuid or 'a GPU'}: {error.message}"
                log.warning("%s: it is left out", broken)
                continue
            if gpus is None:
                return found
            found += gpus
    if broken and not found:
        raise Unavailable(broken)
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


def _usable(uuid: str, number: int) -> list[Gpu] | None:
    """A GPU, or its instances, numbered from `number`; None for a MIG instance that is not there
    (any more). Unavailable if it is broken."""
    if not uuid:
        raise Unavailable("NVML: it is lost")
    if why := nvml.fault(uuid):
        raise Unavailable(why)
    parts = None if uuid.startswith("MIG-") else nvml.instances(uuid)
    found = [_look_up(number + n, one) for n, one in enumerate([uuid] if parts is None else parts)]
    return None if None in found else [gpu for gpu in found if gpu is not None]


def _look_up(index: int, uuid: str) -> Gpu | None:
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
