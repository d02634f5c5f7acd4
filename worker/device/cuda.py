"""One NVIDIA GPU as a device: a compute stream, pinned staging, allocator and NVML figures.

A tensor is placed once and read by many models. Its memory goes back to the allocator when the
last model is unloaded, which waits for the compute stream first, so no stream still reads it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from worker.device import heap
from worker.device.budget import others_of, overhead_of
from worker.device.hosting import HostStore
from worker.device.nvml import NotReported, Nvml
from worker.device.out_of_memory import out_of_memory
from worker.device.sharing import SharedObjects
from worker.device.staging import CudaRegistrar, Staging, pinned_copy


class CudaDevice:
    """Device over the only GPU, or instance of one (MIG), that is visible to this process. `uuid`:
    NVML's of it; '' takes the GPU's own."""

    kind = "cuda"
    name = "cuda:0"

    def __init__(self, uuid: str = "", threads: int = 1) -> None:
        heap.use_one_arena()
        torch.set_num_threads(threads)
        self.torch_device = torch.device("cuda", 0)
        self.shared = SharedObjects()
        self.hosted = HostStore(self.host)
        properties = torch.cuda.get_device_properties(self.torch_device)
        self.device_class = "_".join(properties.name.split())
        self.uuid = uuid or f"GPU-{properties.uuid}"
        self._total = int(properties.total_memory)
        self._nvml = Nvml(self.uuid)
        before = self.memory_used()
        self._stream = torch.cuda.Stream(self.torch_device)  # type: ignore[no-untyped-call]
        self._staging = Staging(self.torch_device)
        self._registrar = CudaRegistrar(self.torch_device)
        self._overhead = self._measure_overhead(before)

    def _measure_overhead(self, before: int) -> int:
        with torch.cuda.device(self.torch_device):
            torch.ones(
                1, device=self.torch_device
            ).sum().item()  # loads its kernels into the context
            torch.cuda.empty_cache()
        after, mine = self.memory_used(), self._nvml.used_by(os.getpid())
        return overhead_of(mine, before, after, self.reserved())

    def memory_total(self) -> int:
        """Bytes of the GPU's memory."""
        return self._total

    def memory_used(self) -> int:
        """Bytes in use by all processes, as NVML counts them; where it does not, as CUDA does."""
        try:
            return self._nvml.memory_used()
        except NotReported:
            free, total = torch.cuda.mem_get_info(self.torch_device)
            return total - free

    def allocated(self) -> int:
        """Bytes of live tensors of this process, without the reserve of its allocator."""
        return torch.cuda.memory_allocated(self.torch_device)

    def live(self) -> int | None:
        """Bytes of live tensors: torch counts exactly."""
        return self.allocated()

    def slack(self) -> int:
        """0: the reserve of torch is not returned, and the heap is small."""
        return 0

    def reserved(self) -> int:
        """Bytes that torch's allocator has from the driver."""
        return torch.cuda.memory_reserved(self.torch_device)

    def others(self) -> int:
        """Bytes in use by other processes, from NVML; Unavailable."""
        used, mine = self.memory_used(), self._nvml.used_by(os.getpid())
        return others_of(used, mine, self.reserved(), self._overhead)

    def overhead(self) -> int:
        """Bytes of the CUDA context and of what torch loads into it, measured at opening."""
        return self._overhead

    def place(self, tensor: Tensor) -> Tensor:
        """A copy of a host weight on the GPU, with the same strides; DeviceOutOfMemory."""
        return self.place_all({"": tensor})[""]

    def place_all(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Copies of host weights on the GPU; DeviceOutOfMemory. The GPU reads pinned memory by
        itself, and this thread sleeps until the last copy is complete."""
        try:
            copies = self._staging.copy_all(list(tensors.values()))
        except RuntimeError as error:
            raise out_of_memory(error) or error from error
        return dict(zip(tensors, copies, strict=True))

    def host(self, content: Tensor) -> Tensor:
        """A pinned copy of `content`, exactly of its size; DeviceOutOfMemory."""
        return pinned_copy(content, self._registrar)

    def upload(self, tensor: Tensor) -> Tensor:
        """A copy of an input on the GPU, queued on the compute stream from pinned memory."""
        return tensor.pin_memory().to(self.torch_device, non_blocking=True)

    def download(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Copies of outputs in pinned host memory; waits once, for all of them."""
        copies = [self._to_host(tensor) for tensor in tensors]
        self._stream.synchronize()
        return copies

    def computing(self) -> AbstractContextManager[object]:
        """The context that queues work on the compute stream of this GPU."""
        return torch.cuda.stream(self._stream)

    def synchronise(self) -> None:
        """Wait for the compute stream."""
        self._stream.synchronize()

    def trim(self) -> None:
        """Return the allocator's unused blocks to the driver, and free heap to the system."""
        torch.cuda.empty_cache()
        heap.trim()

    def _to_host(self, tensor: Tensor) -> Tensor:
        dense = tensor.contiguous()
        host = torch.empty(dense.shape, dtype=dense.dtype, pin_memory=True)
        return host.copy_(dense, non_blocking=True)
