"""Which device a worker gets: the one it was told, else a GPU if there is one, else the CPU."""

from __future__ import annotations

import re

import torch

from shared.errors import ConfigError
from worker.device.base import Device
from worker.device.cpu import CpuDevice

NAME = re.compile(r"cpu|cuda(?::(\d{1,3}))?")


def open_device(name: str | None = None, *, threads: int = 1) -> Device:
    """Open `name` ("cpu", "cuda", "cuda:1"), or the best there is; ConfigError if it is not there.

    Call before other threads use torch: `threads` (intra-op) holds for threads that start later.
    """
    chosen = name or ("cuda" if torch.cuda.is_available() else "cpu")
    match = NAME.fullmatch(chosen)
    if match is None:
        raise ConfigError(f"device {chosen[:40]!r}: want cpu, cuda or cuda:<number>")
    if chosen == "cpu":
        return CpuDevice(threads)
    if not torch.cuda.is_available():
        raise ConfigError(f"device {chosen}: torch sees no usable GPU here")
    from worker.device.cuda import CudaDevice  # its driver library is needed only now

    return CudaDevice(int(match[1] or 0), threads)
