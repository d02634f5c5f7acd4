"""The CPU as a device: weights stay where they are mapped, nothing is copied."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from torch import Tensor

from worker.device.sharing import SharedObjects

# Limits of the control group this process runs in: version 2, then version 1.
CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


class CpuDevice:
    """Device over host memory. `threads`: intra-op threads of the process. More than one pays only
    where the worker has cores of its own: two busy OpenMP pools on one machine stall each other.
    """

    name = "cpu"
    kind = "cpu"

    def __init__(self, threads: int = 1) -> None:
        torch.set_num_threads(threads)
        self.torch_device = torch.device("cpu")
        self.shared = SharedObjects()
        self._ready: AbstractContextManager[object] = nullcontext()

    def memory_total(self) -> int:
        """Bytes this process may use: the machine's memory, or the control group's limit."""
        return total_bytes(CGROUP_LIMITS)

    def memory_used(self) -> int:
        """Bytes resident in this process, mapped weights included once they have been touched."""
        return resident_bytes(Path("/proc/self/statm"))

    def place(self, tensor: Tensor) -> Tensor:
        """The tensor itself: a mapped weight is used where it is."""
        return tensor

    def upload(self, tensor: Tensor) -> Tensor:
        """The tensor itself."""
        return tensor

    def download(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The tensors themselves."""
        return list(tensors)

    def computing(self) -> AbstractContextManager[object]:
        """Nothing to hold."""
        return self._ready

    def synchronise(self) -> None:
        """Nothing to wait for: work on the CPU is done when its call returns."""

    def trim(self) -> None:
        """Have the C library return free heap to the system; without glibc, do nothing."""
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def resident_bytes(statm: Path) -> int:
    """Resident bytes from a Linux `statm` file: its second number, in pages."""
    return int(statm.read_text().split()[1]) * mmap.PAGESIZE


def total_bytes(limits: Iterable[Path]) -> int:
    """The machine's memory, or the smallest limit found in the control group files `limits`."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    found = [
        int(text)
        for path in limits
        if path.exists() and (text := path.read_text().strip()) != "max"
    ]
    return min([machine, *found])
