"""One NVIDIA GPU as a device: a compute stream, pinned staging, allocator and NVML figures.

A tensor is placed once and read by many models. Its memory goes back to the allocator when the
last model is unloaded, which waits for the compute stream first, so no stream still reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from shared.errors import ConfigError
from worker.device.base import out_of_memory
from worker.device.nvml import Nvml
from worker.device.sharing import SharedObjects
from worker.device.staging import Staging


class CudaDevice:
    """Device over GPU number `index` of those visible to this process."""

    kind = "cuda"

    def __init__(self, index: int = 0, threads: int = 1) -> None:
        if index >= torch.cuda.device_count():
            raise ConfigError(f"device cuda:{index}: this machine has {torch.cuda.device_count()}")
        torch.set_num_threads(threads)
        self.name = f"cuda:{index}"
        self.torch_device = torch.device("cuda", index)
        self.shared = SharedObjects()
        properties = torch.cuda.get_device_properties(self.torch_device)
        self._total = int(properties.total_memory)
        self._nvml = Nvml(f"GPU-{properties.uuid}")
        self._stream = torch.cuda.Stream(self.torch_device)  # type: ignore[no-untyped-call]
        self._staging = Staging(self.torch_device)

    def memory_total(self) -> int:
        """Bytes of the GPU's memory."""
        return self._total

    def memory_used(self) -> int:
        """Bytes in use by all processes, as NVML counts them."""
        return self._nvml.memory_used()

    def memory_allocated(self) -> int:
        """Bytes of live tensors of this process; what its allocator keeps in reserve is more."""
        return torch.cuda.memory_allocated(self.torch_device)

    def place(self, tensor: Tensor) -> Tensor:
        """A copy of a host weight on the GPU, with the same strides; DeviceOutOfMemory."""
        try:
            return self._staging.copy(tensor)
        except torch.OutOfMemoryError as error:
            raise out_of_memory(error) or error from error

    def upload(self, tensor: Tensor) -> Tensor:
        """A copy of an input on the GPU, queued on the compute stream from pinned memory."""
        return tensor.pin_memory().to(self.torch_device, non_blocking=True)

    def download(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Copies in pinned host memory; waits once, for all of them."""
        copies = [self._to_host(tensor) for tensor in tensors]
        self._stream.synchronize()
        return copies

    def computing(self) -> AbstractContextManager[object]:
        """Queue what the block does on the compute stream of this GPU."""
        return torch.cuda.stream(self._stream)

    def synchronise(self) -> None:
        """Wait for the compute stream."""
        self._stream.synchronize()

    def trim(self) -> None:
        """Return the allocator's unused blocks to the driver."""
        torch.cuda.empty_cache()

    def _to_host(self, tensor: Tensor) -> Tensor:
        dense = tensor.contiguous()
        host = torch.empty(dense.shape, dtype=dense.dtype, pin_memory=True)
        return host.copy_(dense, non_blocking=True)
