"""Which foreign exceptions say that memory ran out, on the device or on the host.

CUDA's allocator has an exception type for it. All else is a text in a RuntimeError, or in an
exception of onnxruntime's that is none: those of the CPU's allocators, of CUDA's libraries, and of
what TorchScript passes on.
"""

from __future__ import annotations

import errno
import re
import sys

from worker.device.base import DeviceOutOfMemory

_HOST = re.compile(
    r"can't allocate memory: you tried to"  # torch's CPU allocator
    r"|not enough memory: you tried to"
    r"|\bCannot allocate memory\b"  # the system's words, as for a mapping
    r"|\bstd::bad_alloc\b"
)
_DEVICE = re.compile(
    r"\bCUDA out of memory\b"  # torch's CUDA allocator, seen through TorchScript
    r"|\bCUDA (?:driver )?(?:error|failure)[ \d]*: out of memory"  # torch, onnxruntime
    r"|\bCUDA_ERROR_OUT_OF_MEMORY\b"
    r"|\bCU(?:BLAS|DNN|SOLVER|SPARSE)_STATUS_ALLOC_FAILED\b"
    r"|\bCUFFT_ALLOC_FAILED\b"
    r"|\bCUDNN_STATUS_INTERNAL_ERROR_(?:HOST|DEVICE)_ALLOCATION_FAILED\b"  # since cuDNN 9
    # onnxruntime's arena, be it the CPU's or a GPU's
    r"|\bFailed to allocate memory for requested buffer of size\b"
    r"|\bAvailable memory of \d+ is smaller than requested bytes\b"
)


def out_of_memory(error: BaseException) -> DeviceOutOfMemory | None:
    """The translation of an allocation failure, or None if `error` is something else."""
    if _is_torchs(error) or _says(error, _DEVICE):
        return DeviceOutOfMemory("the device has no memory left for this")
    if isinstance(error, MemoryError) or _says(error, _HOST) or _is_enomem(error):
        return DeviceOutOfMemory("the host has no memory left for this")
    return None


def _is_torchs(error: BaseException) -> bool:
    # Who has not imported torch cannot have its exception, and may not have torch.
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(error, torch.OutOfMemoryError)


def _says(error: BaseException, pattern: re.Pattern[str]) -> bool:
    # A ValueError that quotes such a text is a model's own affair.
    ours = isinstance(error, RuntimeError) or type(error).__module__.startswith("onnxruntime.")
    return ours and pattern.search(str(error)) is not None


def _is_enomem(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno == errno.ENOMEM
