"""The interface of a device, and the error of a full one."""

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

    `upload`, `download` and `computing` belong to the device thread. `place`, `place_all`,
    `loading` and `host` are called by loader threads while the device thread runs, and must not
    disturb it. All figures are bytes, and may be read by any thread.
    """

    name: str  # "cpu", "cuda:0"
    kind: str  # "cpu", "cuda"
    device_class: str  # the same for equal devices: "cpu", "NVIDIA_A10"
    uuid: str  # of the GPU, in NVML's form; '' for a CPU
    tf32: bool  # FP32 products may be rounded to TF32
    stream: int  # handle of the stream on which it computes; 0 for a CPU
    torch_device: torch.device
    shared: SharedObjects  # objects that models on this device share
    hosted: HostStore  # weights kept in host memory for it

    def memory_total(self) -> int:
        """The memory of the device; on a CPU the part that this process may use."""

    def memory_used(self) -> int:
        """In use now: on a GPU by all processes, on a CPU resident in this process."""

    def allocated(self) -> int:
        """Bytes of live tensors of this process; on a CPU its anonymous resident memory."""

    def live(self) -> int | None:
        """Bytes allocated and not freed, exactly, without what allocators keep in reserve: to
        measure what a load adds. None where that is not known."""

    def slack(self) -> int:
        """Unused bytes that the heap keeps and `trim` would return; 0 on a GPU."""

    def reserved(self) -> int:
        """Bytes that this process's allocator holds: live tensors and its reserve."""

    def others(self) -> int:
        """Bytes that other processes use of the device; 0 for a CPU. Unavailable if NVML fails."""

    def take_beside(self, size: int) -> None:
        """Note that a model takes `size` bytes of the device (less than 0: gives them back) by
        another allocator than torch's. From any thread."""

    def overhead(self) -> int:
        """Bytes of the process itself (CUDA context, framework), before any model."""

    def heap_bytes(self, size: int) -> int:
        """The part of `size` bytes on the interpreter's heap that takes memory of this device."""

    def place(self, tensor: Tensor) -> Tensor:
        """A weight from host memory, ready for use on the device; DeviceOutOfMemory."""

    def place_all(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Place weights by name, as `place` does, without a pause between the copies."""

    def loading(self) -> AbstractContextManager[object]:
        """The context in which a loader thread allocates weights that it does not `place`."""

    def host(self, content: Tensor) -> Tensor:
        """The bytes of a mapped blob (uint8 [size]) in the host memory from which they reach the
        device fastest; DeviceOutOfMemory if the host has too little. Blocks."""

    def upload(self, tensor: Tensor) -> Tensor:
        """An input from host memory, on the device for work queued after this call."""

    def download(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Outputs in host memory, complete when this returns."""

    def computing(self) -> AbstractContextManager[object]:
        """The context in which the device thread queues work."""

    def synchronise(self) -> None:
        """Wait until all queued work is done."""

    def trim(self) -> None:
        """Return free heap to the system."""

    def relieve(self) -> int:
        """Return what the device's own allocator keeps unused to the driver if the device is short
        of memory; the bytes. Blocks, and stalls the device: not for the device thread."""
