"""Recognition of foreign exceptions that mean out of memory, on the device or on the host.

CUDA's allocator has an exception type for it. The CPU's allocators, CUDA's libraries and
TorchScript raise a RuntimeError with a text, onnxruntime an exception of its own with a text.
"""

from __future__ import annotations

import errno
import re
import sys
import traceback

from worker.device.base import DeviceOutOfMemory

_HOST = re.compile(
    r"can't allocate memory: you tried to"  # torch's CPU allocator
    r"|not enough memory: you tried to"
    r"|\bCannot allocate memory\b"  # the system's text, as for a mapping
    r"|\bstd::bad_alloc\b"
)
_DEVICE = re.compile(
    r"\bCUDA out of memory\b"  # torch's CUDA allocator, seen through TorchScript
    r"|\bCUDA (?:driver )?(?:error|failure)[ \d]*: out of memory"  # torch, onnxruntime
    r"|\bCUDA_ERROR_OUT_OF_MEMORY\b"
    r"|\bCU(?:BLAS|DNN|SOLVER|SPARSE)_STATUS_ALLOC_FAILED\b"
    r"|\bCUFFT_ALLOC_FAILED\b"
    r"|\bCUDNN_STATUS_INTERNAL_ERROR_(?:HOST|DEVICE)_ALLOCATION_FAILED\b"  # since cuDNN 9
    # onnxruntime's arena, of the CPU or a GPU
    r"|\bFailed to allocate memory for requested buffer of size\b"
    r"|\bAvailable memory of \d+ is smaller than requested bytes\b"
)


def out_of_memory(error: BaseException) -> DeviceOutOfMemory | None:
    """The translation of an allocation failure, or None if `error` is something else."""
    if _is_torch_error(error) or _matches(error, _DEVICE):
        return DeviceOutOfMemory("the device has no memory left for this")
    if isinstance(error, MemoryError) or _matches(error, _HOST) or _is_enomem(error):
        return DeviceOutOfMemory("the host has no memory left for this")
    return None


def drop_frames(error: BaseException) -> None:
    """Clear the local variables of the frames of `error` and of its causes: a call that ran out of
    memory leaves what it had allocated there, while memory is freed for its next try."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        traceback.clear_frames(link.__traceback__)
        link.__traceback__ = None
        link = link.__cause__ or link.__context__


def _is_torch_error(error: BaseException) -> bool:
    # Without an import of torch there is no such exception, and torch may not be installed.
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(error, torch.OutOfMemoryError)


def _matches(error: BaseException, pattern: re.Pattern[str]) -> bool:
    # A ValueError that quotes such a text comes from the model.
    ours = isinstance(error, RuntimeError) or type(error).__module__.startswith("onnxruntime.")
    return ours and pattern.search(str(error)) is not None


def _is_enomem(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno == errno.ENOMEM
