"""Errors after which a process cannot use its device any more: seen, and no others."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from shared.errors import ModelFailed, WarmrouteError
from worker.device.thread import is_sticky
from worker.runtimes import failures
from worker.supervisor.restart import DEVICE_LOST

ASSERT = (
    "CUDA error: device-side assert triggered\n"
    "Search for `cudaErrorAssert' in https://docs.nvidia.com/cuda for more information.\n"
    "CUDA kernel errors might be asynchronously reported at some other API call"
)


def translated(error: Exception) -> WarmrouteError:
    """As a runtime raises it."""
    with pytest.raises(WarmrouteError) as raised, failures.of_model():
        raise error
    return raised.value


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError(ASSERT), RuntimeError(ASSERT),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("CUDA error: unspecified launch failure"),
        RuntimeError("CUDA error: misaligned address"),
        Exception("[ONNXRuntimeError] : 1 : FAIL : CUDA failure 700: an illegal memory access was "
                  "encountered ; GPU=0 ; hostname=h"),
    ],
    ids=repr,
)  # fmt: skip
def test_a_lost_context_is_seen(error: Exception) -> None:
    """Also behind the project's own error, which a runtime makes of it."""
    assert is_sticky(error)
    assert is_sticky(translated(error))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), MemoryError(),
        RuntimeError("CUDA error: out of memory"),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("CUDA error: invalid configuration argument"),
        RuntimeError("CUDA error: no kernel image is available for execution on the device"),
        RuntimeError("CUDA error: CUBLAS_STATUS_NOT_SUPPORTED when calling `cublasGemmEx`"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (1x3 and 2x2)"),
        ValueError("device-side assert triggered"), ZeroDivisionError("a bug"),
    ],
    ids=repr,
)  # fmt: skip
def test_an_error_of_one_call_is_not_sticky(error: Exception) -> None:
    """The next call may succeed: no reason to end the process."""
    assert not is_sticky(error)
    assert not is_sticky(translated(error))


def test_the_words_of_a_model_are_no_evidence() -> None:
    """It may say what it likes in an error that it makes itself."""
    assert not is_sticky(ModelFailed(f"the model failed: {ASSERT}"))


def test_a_chain_of_causes_that_bites_its_tail_ends() -> None:
    """Python allows it."""
    one, two = RuntimeError("one"), RuntimeError("two")
    one.__cause__, two.__cause__ = two, one
    assert not is_sticky(one)


@pytest.mark.parametrize(
    ("raised", "status"), [("CUDA error: misaligned address", DEVICE_LOST), ("a bad row", 0)]
)
def test_the_process_ends_for_a_lost_device_only(raised: str, status: int) -> None:
    """From the device thread, at once, with the status that its parent knows; and it says why."""
    program = f"""
import asyncio
from contextlib import suppress
from worker.device.thread import DeviceThread

def call():
    raise RuntimeError({raised!r})

async def main():
    thread = DeviceThread()
    with suppress(RuntimeError):
        await thread.run(call)
    thread.close()

asyncio.run(main())
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=50)
    assert ended.returncode == status
    assert (b"cannot be used any more" in ended.stderr) == bool(status)
