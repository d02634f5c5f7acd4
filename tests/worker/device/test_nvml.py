"""NVML that cannot be used is a clear error, not a crash of the driver's library."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch

from shared.errors import Unavailable
from worker.device import nvml
from worker.device.nvml import NotReported, Nvml, installed, instances


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_driver_it_says_so():
    """The library's own reason is passed on."""
    with pytest.raises(Unavailable, match="NVML"):
        Nvml("GPU-00000000-0000-0000-0000-000000000000")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_driver_there_are_no_gpus():
    """That is a fact about the machine, not a fault."""
    assert installed() == []


class Process(NamedTuple):
    pid: int
    usedGpuMemory: int | None


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Nvml:
    """NVML with one GPU, whose answers a test gives."""
    for name, answer in (("nvmlInit", None), ("nvmlDeviceGetHandleByUUID", 7)):
        monkeypatch.setattr(nvml.pynvml, name, lambda *given, answer=answer: answer)
    return Nvml("GPU-1")


@pytest.mark.parametrize(
    ("running", "used"),
    [
        ([Process(1, 5), Process(42, 900)], 900),
        ([Process(1, 5)], None),
        ([Process(42, None)], None),
    ],
)
def test_the_driver_may_know_what_a_process_uses(gpu, monkeypatch, running, used):
    """By its id; in a container it may go by another, and some drivers do not tell."""
    monkeypatch.setattr(nvml.pynvml, "nvmlDeviceGetComputeRunningProcesses", lambda _: running)
    assert gpu.used_by(42) == used


def test_a_driver_that_does_not_list_processes_says_nothing_of_them(gpu, monkeypatch):
    """Their use is worked out otherwise then."""

    def refuse(handle: object) -> None:
        raise nvml.pynvml.NVMLError(nvml.pynvml.NVML_ERROR_NOT_SUPPORTED)

    monkeypatch.setattr(nvml.pynvml, "nvmlDeviceGetComputeRunningProcesses", refuse)
    assert gpu.used_by(42) is None


def test_an_older_driver_is_asked_in_its_own_way(gpu, monkeypatch):
    """The second version of the call counts the driver's own share apart; it may not be there."""

    class Memory(NamedTuple):
        total: int
        used: int

    def answer(handle: object, version: int | None = None) -> Memory:
        if version is not None:
            raise nvml.pynvml.NVMLError(nvml.pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
        return Memory(10, 3)

    monkeypatch.setattr(nvml.pynvml, "nvmlDeviceGetMemoryInfo", answer)
    assert (gpu.memory_total(), gpu.memory_used()) == (10, 3)


def test_a_gpu_that_was_lost_is_a_clear_error(gpu, monkeypatch):
    """In NVML's own words."""

    def lost(handle: object, version: int | None = None) -> None:
        raise nvml.pynvml.NVMLError(nvml.pynvml.NVML_ERROR_GPU_IS_LOST)

    monkeypatch.setattr(nvml.pynvml, "nvmlDeviceGetMemoryInfo", lost)
    with pytest.raises(Unavailable, match="NVML: GPU is lost"):
        gpu.memory_used()


def test_a_gpu_without_memory_of_its_own_is_told_apart(gpu, monkeypatch):
    """It shares the host's, and CUDA itself has to be asked; any other error is one."""

    def refuse(handle: object, version: int | None = None) -> None:
        raise nvml.pynvml.NVMLError(nvml.pynvml.NVML_ERROR_NOT_SUPPORTED)

    monkeypatch.setattr(nvml.pynvml, "nvmlDeviceGetMemoryInfo", refuse)
    with pytest.raises(NotReported):
        gpu.memory_used()


class Driver:
    """NVML with one GPU that is divided into instances 0 and 2, of three that it may have."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened = 0
        answers = {
            "nvmlInit": self.init, "nvmlShutdown": self.shutdown, "nvmlDeviceGetCount": lambda: 1,
            "nvmlDeviceGetHandleByIndex": lambda number: "gpu",
            "nvmlDeviceGetHandleByUUID": lambda uuid: "gpu",
            "nvmlDeviceGetUUID": lambda handle: f"uuid of {handle}",
            "nvmlDeviceGetMigMode": lambda handle: (1, 0),
            "nvmlDeviceGetMaxMigDeviceCount": lambda handle: 3,
            "nvmlDeviceGetMigDeviceHandleByIndex": self.instance,
        }  # fmt: skip
        for name, answer in answers.items():
            monkeypatch.setattr(nvml.pynvml, name, answer)

    def init(self) -> None:
        self.opened += 1

    def shutdown(self) -> None:
        self.opened -= 1

    @staticmethod
    def instance(handle: str, number: int) -> str:
        if number == 1:
            raise nvml.pynvml.NVMLError(nvml.pynvml.NVML_ERROR_NOT_FOUND)
        return f"instance {number}"


def test_the_instances_of_a_gpu_are_found_whatever_their_numbers(monkeypatch):
    """And the driver is let go again."""
    driver = Driver(monkeypatch)
    assert installed() == ["uuid of gpu"]
    assert instances("uuid of gpu") == ["uuid of instance 0", "uuid of instance 2"]
    assert driver.opened == 0


def test_a_gpu_that_fell_off_the_bus_keeps_its_place(monkeypatch):
    """Those behind it keep their numbers."""
    driver = Driver(monkeypatch)

    def second_lost(number: int) -> str:
        if number == 1:
            raise nvml.pynvml.NVMLError(nvml.pynvml.NVML_ERROR_GPU_IS_LOST)
        return str(number)

    monkeypatch.setattr(nvml.pynvml, "nvmlDeviceGetCount", lambda: 3)
    monkeypatch.setattr(nvml.pynvml, "nvmlDeviceGetHandleByIndex", second_lost)
    assert installed() == ["uuid of 0", "", "uuid of 2"]
    assert driver.opened == 0


@pytest.mark.parametrize(("rows", "bad"), [((3, 1, 1, 0), False), ((0, 9, 0, 1), True)])
def test_memory_that_could_not_be_repaired_is_a_fault(monkeypatch, rows, bad):
    """Rows that were replaced, or will be at the next reset, are none."""
    driver = Driver(monkeypatch)
    monkeypatch.setattr(nvml.pynvml, "nvmlDeviceGetRemappedRows", lambda handle: rows)
    assert bool(nvml.fault("GPU-1")) == bad
    assert driver.opened == 0


def test_a_driver_that_does_not_know_of_rows_reports_no_fault(monkeypatch):
    """As for GPUs of people's desks."""
    Driver(monkeypatch)

    def unknown(handle: object) -> None:
        raise nvml.pynvml.NVMLError(nvml.pynvml.NVML_ERROR_NOT_SUPPORTED)

    monkeypatch.setattr(nvml.pynvml, "nvmlDeviceGetRemappedRows", unknown)
    assert nvml.fault("GPU-1") == ""


def test_a_gpu_that_is_not_divided_has_no_instances(monkeypatch):
    """By its mode, or as it knows no such mode."""
    driver = Driver(monkeypatch)
    monkeypatch.setattr(nvml.pynvml, "nvmlDeviceGetMigMode", lambda handle: (0, 1))
    assert instances("uuid of gpu") is None

    def unknown(handle: object) -> None:
        raise nvml.pynvml.NVMLError(nvml.pynvml.NVML_ERROR_NOT_SUPPORTED)

    monkeypatch.setattr(nvml.pynvml, "nvmlDeviceGetMigMode", unknown)
    assert instances("uuid of gpu") is None
    assert driver.opened == 0
