"""A GPU as a device. Skipped where there is none."""

from __future__ import annotations

import pytest
import torch

from shared.errors import ConfigError

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture
def device():
    from worker.device.cuda import CudaDevice

    return CudaDevice(0)


def test_a_weight_arrives_whole_through_small_chunks(device):
    """Larger than both staging buffers, of odd size, and of every kind of element."""
    from worker.device.staging import Staging

    staging = Staging(device.torch_device, chunk_bytes=1024)
    for dtype in (torch.float32, torch.bfloat16, torch.int64, torch.bool):
        source = torch.randint(0, 2, (37, 101)).to(dtype)
        target = staging.copy(source)
        assert target.device == device.torch_device
        assert torch.equal(target.cpu(), source)
    assert staging.copy(torch.ones(0, 3)).shape == (0, 3)
    assert staging.copy(torch.tensor(2.0)).item() == 2.0


def test_inputs_and_outputs_make_the_round_trip(device):
    """Upload, compute on the device's stream, download."""
    with device.computing():
        doubled = device.upload(torch.arange(6.0)) * 2
        (host,) = device.download([doubled.view(2, 3).t()])
    assert torch.equal(host, (torch.arange(6.0) * 2).view(2, 3).t())


def test_memory_is_counted(device):
    """NVML counts everything, the allocator what is ours."""
    before = device.memory_allocated()
    held = device.place(torch.ones(8 << 20))
    assert device.memory_allocated() - before >= 32 << 20
    assert device.memory_total() >= device.memory_used() >= device.memory_allocated()
    del held
    device.trim()


def test_a_full_device_is_told_apart(device):
    """The allocator's error becomes ours, for weights and for runs."""
    from worker.device.base import DeviceOutOfMemory
    from worker.runtimes import failures

    with pytest.raises(DeviceOutOfMemory), failures.of_model():
        torch.empty(1 << 60, dtype=torch.uint8, device=device.torch_device)
    torch.cuda.set_per_process_memory_fraction(0.01, device.torch_device)
    try:
        with pytest.raises(DeviceOutOfMemory):
            device.place(torch.empty(device.memory_total() // 50, dtype=torch.uint8))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device.torch_device)


def test_a_gpu_that_is_not_there_is_refused():
    """The number of those there are is named."""
    from worker.device.opening import open_device

    with pytest.raises(ConfigError, match="this machine has"):
        open_device("cuda:99")
