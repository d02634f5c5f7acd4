"""The CPU as a device: weights stay where they are mapped, nothing is copied."""

from __future__ import annotations

import mmap
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from torch import Tensor

from worker.device import heap
from worker.device.cgroup import memory_levels, memory_total
from worker.device.hosting import HostStore
from worker.device.sharing import SharedObjects

STATM = Path("/proc/self/statm")


class CpuDevice:
    """Device over host memory. `threads`: intra-op threads of the process. More than one pays only
    where the worker has cores of its own: two busy OpenMP pools on one machine stall each other.
    """

    name = kind = device_class = "cpu"
    uuid = ""
    tf32 = False
    stream = 0

    def __init__(self, threads: int = 1) -> None:
        heap.use_one_arena()
        heap.keep_what_is_freed()
        torch.set_num_threads(threads)
        self.torch_device = torch.device("cpu")
        self.shared = SharedObjects()
        self.hosted = HostStore(self.host)
        self._overhead = anonymous_bytes(STATM)
        self._beside = self._beside_the_heap()
        self._ready: AbstractContextManager[object] = nullcontext()

    def memory_total(self) -> int:
        """Bytes this process may use: the machine's memory, or a control group's lower limit."""
        return memory_total(memory_levels())

    def memory_used(self) -> int:
        """Bytes resident in this process, mapped weights included once they have been touched."""
        return resident_bytes(STATM)

    def allocated(self) -> int:
        """Anonymous resident bytes of this process: no mapped file, touched or not, is counted."""
        return anonymous_bytes(STATM)

    def live(self) -> int | None:
        """Bytes of the heap that are in use, without mapped files."""
        return heap.in_use()

    def slack(self) -> int:
        """Resident bytes beside the heap's live part that were not there after the last trim."""
        known = heap.in_use() is not None
        return max(0, self._beside_the_heap() - self._beside) if known else 0

    def reserved(self) -> int:
        """Anonymous resident bytes: the reserve of the C library is resident too."""
        return anonymous_bytes(STATM)

    def others(self) -> int:
        """0: what other processes use of the host is not ours to count."""
        return 0

    def take_beside(self, size: int) -> None:
        """Nothing to note: the heap of the process has them."""

    def overhead(self) -> int:
        """Anonymous resident bytes of this process when the device was opened."""
        return self._overhead

    def heap_bytes(self, size: int) -> int:
        """All of it."""
        return size

    def place(self, tensor: Tensor) -> Tensor:
        """The tensor itself: a mapped weight is used where it is."""
        return tensor

    def place_all(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors themselves."""
        return dict(tensors)

    def loading(self) -> AbstractContextManager[object]:
        """A context without effect."""
        return self._ready

    def host(self, content: Tensor) -> Tensor:
        """The mapping itself, each of its pages touched, so that it is in memory now."""
        content[:: mmap.PAGESIZE].sum()
        return content

    def upload(self, tensor: Tensor) -> Tensor:
        """The tensor itself."""
        return tensor

    def download(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The tensors themselves."""
        return list(tensors)

    def computing(self) -> AbstractContextManager[object]:
        """A context without effect."""
        return self._ready

    def synchronise(self) -> None:
        """Return at once: work on the CPU is done when its call returns."""

    def trim(self) -> None:
        """Have the C library return free heap to the system."""
        heap.trim()
        self._beside = self._beside_the_heap()

    def relieve(self) -> int:
        """0: there is no allocator beside the heap."""
        return 0

    @staticmethod
    def _beside_the_heap() -> int:
        """Anonymous resident bytes outside of the heap's live part: stacks, data of libraries, and
        freed memory that the heap keeps."""
        return anonymous_bytes(STATM) - (heap.in_use() or 0)


def resident_bytes(statm: Path) -> int:
    """Resident bytes from a Linux `statm` file: its second number, in pages."""
    return int(statm.read_text().split()[1]) * mmap.PAGESIZE


def anonymous_bytes(statm: Path) -> int:
    """Resident bytes that no file backs, from a Linux `statm` file: its second number less its
    third, in pages."""
    resident, shared = statm.read_text().split()[1:3]
    return (int(resident) - int(shared)) * mmap.PAGESIZE
