"""The self-test of a device: a tiny product with a known answer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from worker.device.cpu import CpuDevice
from worker.device.self_test import SelfTest
from worker.supervisor.progress import Progress


class Broken(CpuDevice):
    """A device whose uploads raise, if `error` is given; else they add one."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.error = error

    def upload(self, tensor: Tensor) -> Tensor:
        if self.error is not None:
            raise self.error
        return tensor + 1


def test_a_sound_device_passes() -> None:
    """As often as it is asked."""
    test = SelfTest(CpuDevice(), Progress())
    assert [test.run(), test.run()] == ["", ""]


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: unknown error", "CUDA error: device-side assert triggered",
        "CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`", "CUDA error: 999",
    ],
)  # fmt: skip
def test_whatever_the_device_raises_is_the_reason(text: str) -> None:
    """There is no list of texts."""
    assert SelfTest(Broken(RuntimeError(text)), Progress()).run() == text


def test_an_error_without_a_text_is_named() -> None:
    """A reason is never empty."""
    assert SelfTest(Broken(KeyError()), Progress()).run() == "KeyError"


def test_a_wrong_result_is_a_failure() -> None:
    """A device that computes nonsense serves nobody."""
    assert SelfTest(Broken(), Progress()).run() == "a tiny product has a wrong result"


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()], ids=repr
)
def test_a_full_device_is_not_lost(error: Exception) -> None:
    """It may compute again as soon as something is evicted."""
    assert SelfTest(Broken(error), Progress()).run() == ""


def test_while_it_runs_the_watchdog_can_see_it() -> None:
    """Each run has a number of its own, so one that hangs is not taken for several."""
    progress, seen = Progress(), []

    class Watched(CpuDevice):
        def upload(self, tensor: Tensor) -> Tensor:
            seen.append(progress.test)
            return tensor

    test = SelfTest(Watched(), progress)
    test.run(), test.run()
    assert (seen, progress.test) == ([1, 2], 0)
