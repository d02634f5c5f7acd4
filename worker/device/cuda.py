"""One NVIDIA GPU as a device: a compute stream, pinned staging, allocator and NVML figures.

A tensor is placed once and read by many models. Its memory goes back to the allocator when the
last model is unloaded, which waits for the compute stream first, so no stream still reads it.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from worker.device import heap
from worker.device.budget import others_of, overhead_of
from worker.device.hosting import HostStore
from worker.device.nvml import NotReported, Nvml
from worker.device.out_of_memory import out_of_memory
from worker.device.pinned import CudaRegistrar, forget_error, pinned_copy
from worker.device.sharing import SharedObjects
from worker.device.staging import Staging

log = logging.getLogger(__name__)

# A GPU with less free memory than this share of it is short of memory: other processes, and
# libraries that allocate beside torch, find none then.
SHORT_SHARE = 0.02
CACHED_BYTES = 64 << 20  # less in the allocator's cache is not worth a stall of the device


def set_tf32(allowed: bool) -> None:
    """Whether FP32 products may be computed in TF32, by every kernel of the process. torch's own
    default is a mixture: convolutions yes, matrices no."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


class CudaDevice:
    """Device over the only GPU, or instance of one (MIG), that is visible to this process. `uuid`:
    NVML's of it; '' takes the GPU's own."""

    kind = "cuda"
    name = "cuda:0"

    def __init__(self, uuid: str = "", threads: int = 1, tf32: bool = False) -> None:
        heap.use_one_arena()
        torch.set_num_threads(threads)
        self.tf32 = tf32
        set_tf32(tf32)
        self.torch_device = torch.device("cuda", 0)
        self.shared = SharedObjects()
        self.hosted = HostStore(self.host)
        self.uuid = uuid or f"GPU-{torch.cuda.get_device_properties(self.torch_device).uuid}"
        self._nvml = Nvml(self.uuid)
        before = self.memory_used()  # with a known UUID before the first call that needs a context
        properties = torch.cuda.get_device_properties(self.torch_device)
        self.device_class = "_".join(properties.name.split())
        self._total = int(properties.total_memory)
        self._beside, self._beside_lock = 0, threading.Lock()
        self._stream = torch.cuda.Stream(self.torch_device)  # type: ignore[no-untyped-call]
        self.stream = int(self._stream.cuda_stream)
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
        return others_of(used, mine, self.reserved() + self._beside, self._overhead)

    def take_beside(self, size: int) -> None:
        """Where the driver does not list processes (in containers), such bytes would else count
        twice: as the model's, and as another process's."""
        with self._beside_lock:
            self._beside += size

    def overhead(self) -> int:
        """Bytes of the CUDA context and of what torch loads into it, measured at opening."""
        return self._overhead

    def heap_bytes(self, size: int) -> int:
        """0: the interpreter's objects take memory of the host, not of the GPU."""
        return 0

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

    def loading(self) -> AbstractContextManager[object]:
        """The context in which a loader thread allocates weights that it does not `place`."""
        return self._staging.loading()

    def host(self, content: Tensor) -> Tensor:
        """A pinned copy of `content`, exactly of its size; DeviceOutOfMemory."""
        return pinned_copy(content, self._registrar)

    def upload(self, tensor: Tensor) -> Tensor:
        """A copy of an input on the GPU, queued on the compute stream from pinned memory."""
        pinned = self._pinned(tensor.shape, tensor.dtype).copy_(tensor)
        return pinned.to(self.torch_device, non_blocking=True)

    def download(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Copies of outputs in pinned host memory; waits once, for all of them."""
        copies = [self._to_host(tensor) for tensor in tensors]
        self.synchronise()
        return copies

    def computing(self) -> AbstractContextManager[object]:
        """The context that queues work on the compute stream of this GPU."""
        return torch.cuda.stream(self._stream)

    def synchronise(self) -> None:
        """Wait for the compute stream. The thread sleeps: `Stream.synchronize` polls, which takes a
        whole core of the host for each busy GPU."""
        done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        done.record(self._stream)
        done.synchronize()

    def trim(self) -> None:
        """Free heap to the system. The allocator's cache is left alone: see `relieve`."""
        heap.trim()

    def relieve(self) -> int:
        """Return the allocator's unused blocks to the driver if the GPU is short of memory; the
        bytes. That stalls the device, and the next calls of each model allocate anew."""
        cached = self.reserved() - self.allocated()
        free = self._total - self.memory_used()
        if cached < CACHED_BYTES or free >= self._total * SHORT_SHARE:
            return 0
        before = self.reserved()
        with torch.cuda.device(self.torch_device):
            torch.cuda.empty_cache()
        return max(0, before - self.reserved())

    def _to_host(self, tensor: Tensor) -> Tensor:
        dense = tensor.contiguous()
        return self._pinned(dense.shape, dense.dtype).copy_(dense, non_blocking=True)

    def _pinned(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Host memory for a copy, pinned if there is pinned memory: without it the copy is slower.
        CUDA calls that out of memory too, but no eviction from the device would help."""
        try:
            return torch.empty(shape, dtype=dtype, pin_memory=True)
        except RuntimeError as error:
            if out_of_memory(error) is None:
                raise
            log.warning("the host has no pinned memory left, so copies are slow: %s", error)
        forget_error(self.torch_device)
        return torch.empty(shape, dtype=dtype)
