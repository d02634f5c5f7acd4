"""The only door to NVML: how much of a GPU's memory is in use, by whomever."""

from __future__ import annotations

import pynvml

from shared.errors import Unavailable


class Nvml:
    """NVML's view of one GPU, found by its UUID: indices differ from CUDA's where
    CUDA_VISIBLE_DEVICES hides some. Unavailable if the driver's library cannot be used.
    """

    def __init__(self, uuid: str) -> None:
        try:
            pynvml.nvmlInit()
            self._handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        except pynvml.NVMLError as error:
            raise Unavailable(f"NVML: {error}") from error

    def memory_used(self) -> int:
        """Bytes in use by all processes, the driver's own share included."""
        try:
            return int(pynvml.nvmlDeviceGetMemoryInfo(self._handle).used)
        except pynvml.NVMLError as error:
            raise Unavailable(f"NVML: {error}") from error
