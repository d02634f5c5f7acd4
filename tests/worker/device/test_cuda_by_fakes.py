"""What a GPU's device decides, without a GPU: pinned memory that is missing, and cached memory."""

from __future__ import annotations

import weakref

import pytest
import torch

from worker.device import cuda
from worker.device.allocated_peak import AllocatedPeak
from worker.device.base import DeviceOutOfMemory
from worker.device.cuda import CudaDevice
from worker.device.nvml import NotReported
from worker.device.out_of_memory import drop_frames

GIB = 1 << 30


class Driver:
    """The figures of a GPU of 100 GiB, as torch and NVML would give them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.used, self.reserved, self.allocated = 50 * GIB, 20 * GIB, 10 * GIB
        self.emptied = 0
        self.pinned_left = 2
        self.real_empty = torch.empty
        for module, name, answer in (
            (torch.cuda, "memory_reserved", lambda device: self.reserved),
            (torch.cuda, "memory_allocated", lambda device: self.allocated),
            (torch.cuda, "empty_cache", self.empty_cache),
            (torch.cuda, "mem_get_info", lambda device: (30 * GIB, 100 * GIB)),
            (torch, "empty", self.empty),
            (cuda, "forget_error", lambda device: None),
        ):
            monkeypatch.setattr(module, name, answer)
        self.device = CudaDevice.__new__(CudaDevice)
        self.device.torch_device = torch.device("cuda", 0)
        self.device._total, self.device._nvml = 100 * GIB, self  # type: ignore[assignment]

    def memory_used(self) -> int:
        if self.used < 0:
            raise NotReported("NVML: it reports no memory of this GPU")
        return self.used

    def empty_cache(self) -> None:
        self.emptied += 1
        self.reserved = self.allocated

    def empty(self, shape: object, *, pin_memory: bool = False, **given: object) -> torch.Tensor:
        if pin_memory and not self.pinned_left:
            raise RuntimeError(
                "CUDA error: out of memory\nCUDA kernel errors might be reported ..."
            )
        self.pinned_left -= pin_memory
        return self.real_empty(shape, **given)


def test_what_a_call_took_is_its_peak_less_what_it_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """By torch's own count, from a count that begins with the call. No bytes before are some."""
    now, reset = {"memory_allocated": 0, "max_memory_allocated": 700}, list[object]()
    for name in now:
        monkeypatch.setattr(torch.cuda, name, lambda device, name=name: now[name])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", reset.append)
    peak = AllocatedPeak(torch.device("cuda", 0))
    assert peak.start() == 0 and reset == [torch.device("cuda", 0)]
    now["max_memory_allocated"] = 900
    assert peak.taken(0, kept=100) == 800
    assert peak.taken(600, kept=400) == 0


@pytest.mark.parametrize("allowed", [True, False])
def test_all_kernels_round_fp32_products_or_none(allowed: bool) -> None:
    """torch's own default differs between convolutions and matrices."""
    parts = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [part.allow_tf32 for part in parts]
    try:
        cuda.set_tf32(allowed)
        assert [part.allow_tf32 for part in parts] == [allowed, allowed]
    finally:
        for part, value in zip(parts, before, strict=True):
            part.allow_tf32 = value


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    return Driver(monkeypatch)


def test_missing_pinned_memory_is_not_the_device_s(driver: Driver, caplog) -> None:
    """CUDA has the same words for both. No model on the device is evicted for it: the copy is made
    from ordinary memory."""
    for _ in range(4):
        assert driver.device._pinned([2, 3], torch.int64).shape == (2, 3)
    assert driver.pinned_left == 0
    assert "no pinned memory left" in caplog.text


def test_any_other_error_of_a_pinned_allocation_is_passed_on(driver: Driver, monkeypatch) -> None:
    """A lost device is one."""

    def broken(shape: object, **given: object) -> torch.Tensor:
        raise RuntimeError("CUDA error: unspecified launch failure")

    monkeypatch.setattr(torch, "empty", broken)
    with pytest.raises(RuntimeError, match="launch failure"):
        driver.device._pinned([2], torch.int64)


@pytest.mark.parametrize(
    ("used", "reserved", "returned"),
    [
        (50 * GIB, 20 * GIB, 0),  # half of it is free
        (99 * GIB, 20 * GIB, 10 * GIB),
        (99 * GIB, 10 * GIB + 1, 0),  # there is nothing to return
        (-1, 20 * GIB, 0),  # NVML has no figure: CUDA says 30 GiB are free
    ],
)
def test_the_cache_is_kept_until_the_gpu_is_short_of_memory(
    driver: Driver, monkeypatch, used: int, reserved: int, returned: int
) -> None:
    """Flushing it stalls every model, and the next calls allocate anew."""

    class Here:
        def __init__(self, device: torch.device) -> None:
            assert device == torch.device("cuda", 0)

        def __enter__(self) -> None: ...

        def __exit__(self, *given: object) -> None: ...

    monkeypatch.setattr(torch.cuda, "device", Here)
    driver.used, driver.reserved = used, reserved
    assert driver.device.relieve() == returned
    assert driver.emptied == bool(returned)


def test_a_gpu_without_figures_in_nvml_has_cuda_s(driver: Driver) -> None:
    """One that shares the host's memory can be opened."""
    driver.used = -1
    assert driver.device.memory_used() == 70 * GIB


def test_objects_of_the_interpreter_take_none_of_the_gpu(driver: Driver) -> None:
    """Its ledger counts the GPU's memory only."""
    assert driver.device.heap_bytes(5000) == 0


def test_what_a_failed_load_has_left_on_the_device_is_freed_before_the_next_try() -> None:
    """Its frames hold it for as long as its error is known, and errors that caused it theirs."""
    left: list[weakref.ref[torch.Tensor]] = []

    def load() -> None:
        weight = torch.ones(3)
        left.append(weakref.ref(weight))
        try:
            half = torch.ones(3)
            left.append(weakref.ref(half))
            raise MemoryError
        except MemoryError as error:
            raise DeviceOutOfMemory("no memory left") from error

    with pytest.raises(DeviceOutOfMemory) as caught:
        load()
    assert all(ref() is not None for ref in left)
    drop_frames(caught.value)
    assert all(ref() is None for ref in left)
