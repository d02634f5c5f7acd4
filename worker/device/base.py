"""What a runtime may ask of a device, and the error a full one raises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from shared.errors import WarmrouteError

if TYPE_CHECKING:  # an ONNX model can be pushed where torch is not installed
    import torch
    from torch import Tensor

    from worker.device.hosting import HostStore
    from worker.device.sharing import SharedObjects


class DeviceOutOfMemory(WarmrouteError):
    """An allocation on the device failed. After an eviction the same call may succeed."""

    code = "device_out_of_memory"
    retryable = True


class Device(Protocol):
    """One device of one worker.

    `upload`, `download` and `computing` belong to the device thread. `place`, `place_all` and
    `host` are called by loader threads while the device thread runs, and must not disturb it. The
    figures may be asked for by any thread; all are bytes.
    """

    name: str  # "cpu", "cuda:0"
    kind: str  # "cpu", "cuda"
    device_class: str  # what copies on equal devices have in common: "cpu", "NVIDIA_A10"
    uuid: str  # of the GPU, as NVML says it; '' for a CPU
    torch_device: torch.device
    shared: SharedObjects  # what models on this device have in common
    hosted: HostStore  # weights kept in host memory for it

    def memory_total(self) -> int:
        """What the device has (for a CPU: what this process may use)."""

    def memory_used(self) -> int:
        """In use now: on a GPU by all processes, on a CPU resident in this process."""

    def allocated(self) -> int:
        """What live tensors of this process hold; on a CPU its anonymous resident memory."""

    def live(self) -> int | None:
        """What is allocated and not freed, exactly, whatever allocators keep beside it: to see what
        a load adds. None where nobody can tell."""

    def slack(self) -> int:
        """What the heap keeps though nobody uses it, and `trim` would return; 0 on a GPU."""

    def reserved(self) -> int:
        """What this process's allocator holds, live tensors and what it keeps for the next."""

    def others(self) -> int:
        """What other processes use of the device; 0 for a CPU. Unavailable if NVML fails."""

    def overhead(self) -> int:
        """What the process itself takes (CUDA context, framework), before any model."""

    def place(self, tensor: Tensor) -> Tensor:
        """A weight from host memory, ready for use on the device; DeviceOutOfMemory."""

    def place_all(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights as of `place`; the copies follow each other without a pause between them."""

    def host(self, content: Tensor) -> Tensor:
        """The bytes of a mapped blob (uint8 [size]) in host memory, from where they reach the
        device fastest; DeviceOutOfMemory if the host has no room. Blocks."""

    def upload(self, tensor: Tensor) -> Tensor:
        """An input from host memory, on the device for work queued after this call."""

    def download(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Outputs in host memory, complete when this returns."""

    def computing(self) -> AbstractContextManager[object]:
        """Holds for the block in which the device thread queues work."""

    def synchronise(self) -> None:
        """Wait until all queued work is done."""

    def trim(self) -> None:
        """Give memory that allocators hold back, but nobody uses, to the system."""
